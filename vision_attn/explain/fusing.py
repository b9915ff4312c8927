"""Attention computed with its weights at hand, for methods that need those of every layer."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vision_attn.explain.looks import weights_in_pieces
from vision_attn.tape import Attended

Heads: TypeAlias = Float[Tensor, "batch head query key"]
Square: TypeAlias = Float[Tensor, "batch query key"]

ROOM = 2**23
"""Bytes of one layer's matrices; larger ones are not kept but computed when they are asked for."""


class Fusing(TorchFunctionMode):
    """Keep, of attention that runs meanwhile, the weights, made one matrix of all heads by `fuse`.

    PyTorch's kernel throws the weights away, and on a CPU to compute them a second time takes
    longer than to do without that kernel. Accelerators, gradients, half precision, keys that are
    hidden or shared, and long sequences are left to it. Both agree to rounding.
    """

    def __init__(self, fuse: Callable[[Heads], Square]):
        super().__init__()
        self._fuse = fuse
        self._kept: dict[int, tuple[Attended, Square]] = {}  # by the output, which stays alive

    def kept(self, record: Attended) -> Square | None:
        """Give the matrix of a record, if what it was computed from is what ran."""
        ran, matrix = self._kept.get(id(record.output), (None, None))
        parts = ("query", "key", "bias")
        if ran is None or any(getattr(ran, x) is not getattr(record, x) for x in parts):
            return None
        return matrix

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Float[Tensor, "batch head query value_dim"]:
        if dropout_p or is_causal or enable_gqa or not _pays(query, key, value, attn_mask):
            return F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask,
                dropout_p,
                is_causal,
                scale=scale,
                enable_gqa=enable_gqa,
            )
        batch, heads, queries, width = query.shape
        output = value.new_empty(batch, queries, heads, value.shape[3]).transpose(1, 2)
        scale = width**-0.5 if scale is None else scale
        record = Attended(query, key, value, output, scale, attn_mask)
        parts = []
        for here, weights in weights_in_pieces(record):
            output[here] = weights @ value[here]
            parts.append(self._fuse(weights))
        self._kept[id(output)] = record, torch.cat(parts)
        return output


def _pays(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> bool:
    return (
        query.ndim == 4
        and query.device.type == "cpu"
        and query.dtype in (torch.float32, torch.float64)
        and query.dtype == key.dtype == value.dtype
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and query.shape[3] == value.shape[3]
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and query.element_size() * len(query) * query.shape[2] * key.shape[2] <= ROOM
        and (bias is None or (bias.dtype == query.dtype and bool(bias.isfinite().all())))
    )
