"""Attention weights times their gradients, from the very backward pass that needs both."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.fusing import Fuse, Heads, Keeping, Square
from vision_attn.explain.looks import asked_by, weights_in_pieces
from vision_attn.explain.maps import at_least_float32
from vision_attn.explain.unreached import reached
from vision_attn.tape import Attended

Output = Float[Tensor, "batch head query value_dim"]


class FusingSlopes(Keeping):
    """Keep the weights times their gradients, once the gradient has passed."""

    def slopes(self, record: Attended, gradient: Output) -> Square:
        """Give weights times gradients, heads fused, from the gradient of the record's output."""
        kept = self.kept(record)
        if kept is None:
            with torch.no_grad():
                kept = torch.cat([self._fuse(x) for _, _, x in weighted(record, gradient)])
        asking = reached(gradient)
        if asking.all():
            return kept
        layer = kept.new_zeros(len(kept), len(asking), kept.shape[2])
        layer[:, asking] = kept
        return layer

    def _pays(self, query: Tensor, bias: Tensor | None) -> bool:
        return query.requires_grad and torch.is_grad_enabled() and not _learns(bias)

    def _run(self, ran: Attended, parts: list[Square]) -> Output:
        query, key, value, _, scale, bias = ran
        return _Attention.apply(query, key, value, bias, scale, self._fuse, parts)


def _learns(bias: Tensor | None) -> bool:
    return bias is not None and bias.requires_grad


def weighted(record: Attended, gradient: Output) -> Iterator[tuple[slice, Heads, Heads]]:
    """Give the weights, and these times their gradients, of queries that the gradient reaches.

    Of a few images at a time; the weights stand in memory that the next ones take.
    """
    asking = reached(gradient)  # before a head that reads one token, all others ask in vain
    if not asking.all():
        record, gradient = asked_by(record, asking), gradient[:, :, asking]
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
        record = Attended(query, key, value, gradient, ctx.scale, bias)
        asking = reached(gradient)
        all_ask = bool(asking.all())
        asked, arriving = query, gradient
        if not all_ask:
            asked, arriving = query[:, :, asking], gradient[:, :, asking]
        to_asked = torch.empty_like(asked, memory_format=torch.contiguous_format)
        to_key = torch.empty_like(key, memory_format=torch.contiguous_format)
        to_value = torch.empty_like(value, memory_format=torch.contiguous_format)
        asked, known = asked * ctx.scale, key * ctx.scale
        ctx.parts.clear()
        for here, weights, slopes in weighted(record, gradient):
            ctx.parts.append(ctx.fuse(slopes))
            _multiply(weights.mT, arriving[here], to_value[here])
            total = slopes.sum(-1, keepdim=True)
            # dL/dscores = A * (G - sum(A * G))
            to_scores = torch.addcmul(slopes, weights, total, value=-1, out=slopes)
            _multiply(to_scores, known[here], to_asked[here])
            _multiply(to_scores.mT, asked[here], to_key[here])
        to_query = to_asked
        if not all_ask:
            to_query = torch.zeros_like(query)
            to_query[:, :, asking] = to_asked
        return to_query, to_key, to_value, None, None, None, None


def _multiply(left: Tensor, right: Tensor, result: Tensor) -> None:
    """Write the product of each head's matrices into `result`."""
    torch.bmm(left.flatten(0, 1), right.flatten(0, 1), out=result.flatten(0, 1))
