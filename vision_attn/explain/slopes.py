"""Attention weights times their gradients, from the very backward pass that needs both."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from vision_attn.explain.call import Call
from vision_attn.explain.fusing import Fuse, Heads, Keeping, Output, Square
from vision_attn.explain.looks import asked_by, weights_in_pieces
from vision_attn.explain.maps import at_least_float32
from vision_attn.explain.unreached import reached
from vision_attn.tape import Attended


class FusingSlopes(Keeping):
    """Keep the weights times their gradients, once the gradient has passed."""

    def slopes(self, record: Attended, gradient: Output) -> Square:
        """Give weights times gradients, heads fused, from the gradient of the record's output."""
        asking, kept = reached(gradient), self.kept(record)
        if kept is None:
            with torch.no_grad():
                pieces = weighted(*_cut(record, gradient, asking))
                kept = torch.cat([self._fuse(slopes) for _, _, slopes in pieces])
        if asking.all():
            return kept
        layer = kept.new_zeros(len(kept), len(asking), kept.shape[2])
        layer[:, asking] = kept
        return layer

    def _pays(self, call: Call) -> bool:
        bias = call.attn_mask
        learns = bias is not None and bias.requires_grad
        return call.query.requires_grad and torch.is_grad_enabled() and not learns

    def _run(self, ran: Attended, parts: list[Square]) -> Output:
        query, key, value, _, scale, bias = ran
        return _Attention.apply(query, key, value, bias, scale, self._fuse, parts)


def _cut(
    record: Attended, gradient: Output, asking: Bool[Tensor, " query"]
) -> tuple[Attended, Output]:
    """Leave only queries that ask: before a head that reads one token, all others ask in vain."""
    if asking.all():
        return record, gradient
    return asked_by(record, asking), gradient[:, :, asking]


def weighted(record: Attended, gradient: Output) -> Iterator[tuple[slice, Heads, Heads]]:
    """Give the weights, and these times their gradients, of a few images at a time.

    The weights stand in memory that the next ones take.
    """
    gradient = at_least_float32(gradient)
    value = at_least_float32(record.value).expand(*gradient.shape[:2], -1, -1)
    for here, weights in weights_in_pieces(record):
        slopes = record._replace(value=value[here]).weight_gradients(gradient[here])
        yield here, weights, slopes.mul_(weights)


class _Attention(torch.autograd.Function):
    """Do what the fused kernel does; on the way back, hand over the weights times gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        scale: float,
        fuse: Fuse,
        parts: list[Square],
    ) -> Output:
        ctx.save_for_backward(query, key, value, bias)
        ctx.scale, ctx.fuse, ctx.parts = scale, fuse, parts
        return F.scaled_dot_product_attention(query, key, value, bias, scale=scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Output) -> tuple[Tensor | None, ...]:
        query, key, value, bias = ctx.saved_tensors
        asking = reached(gradient)
        record = Attended(query, key, value, gradient, ctx.scale, bias)
        record, gradient = _cut(record, gradient, asking)
        asked = record.query
        to_asked = torch.empty_like(asked, memory_format=torch.contiguous_format)
        to_key = torch.empty_like(key, memory_format=torch.contiguous_format)
        to_value = torch.empty_like(value, memory_format=torch.contiguous_format)
        asked, known = asked * ctx.scale, key * ctx.scale
        ctx.parts.clear()
        for here, weights, slopes in weighted(record, gradient):
            ctx.parts.append(ctx.fuse(slopes))
            _multiply(weights.mT, gradient[here], to_value[here])
            total = slopes.sum(-1, keepdim=True)
            # dL/dscores = A * (G - sum(A * G))
            to_scores = torch.addcmul(slopes, weights, total, value=-1, out=slopes)
            _multiply(to_scores, known[here], to_asked[here])
            _multiply(to_scores.mT, asked[here], to_key[here])
        to_query = to_asked
        if not asking.all():
            to_query = torch.zeros_like(query)
            to_query[:, :, asking] = to_asked
        return to_query, to_key, to_value, None, None, None, None


def _multiply(left: Tensor, right: Tensor, result: Tensor) -> None:
    """Write the product of each head's matrices into `result`."""
    torch.bmm(left.flatten(0, 1), right.flatten(0, 1), out=result.flatten(0, 1))
