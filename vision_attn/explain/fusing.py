"""Attention computed with its weights at hand, for methods that need those of every layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vision_attn.explain.call import Call
from vision_attn.explain.looks import weights_in_pieces
from vision_attn.tape import Attended

Heads: TypeAlias = Float[Tensor, "batch head query key"]
Square: TypeAlias = Float[Tensor, "batch query key"]
Fuse: TypeAlias = Callable[[Heads], Square]
Output: TypeAlias = Float[Tensor, "batch head query value_dim"]

ROOM = 2**23
"""Bytes of one layer's matrices; larger ones are not kept but computed when they are asked for."""


class Keeping(TorchFunctionMode, ABC):
    """Keep one matrix of each attention that runs meanwhile, its heads made one by `fuse`.

    PyTorch's kernel throws the weights away, and on a CPU to compute them a second time takes
    longer than to do without that kernel. Accelerators, half precision, keys that are hidden or
    shared, and long sequences are left to it. Both agree to rounding.
    """

    def __init__(self, fuse: Fuse):
        super().__init__()
        self._fuse = fuse
        # By the output, which stays alive: what ran, and its matrix in parts, a few images each.
        self._kept: dict[int, tuple[Attended, list[Square]]] = {}

    def kept(self, record: Attended) -> Square | None:
        """Give the matrix of a record, if what it was computed from is what ran."""
        ran, parts = self._kept.get(id(record.output), (None, []))
        compared = ("query", "key", "bias")
        if not parts or any(getattr(ran, x) is not getattr(record, x) for x in compared):
            return None
        return torch.cat(parts)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(Call(*args, **kwargs))
        return func(*args, **kwargs)

    def _attend(self, call: Call) -> Output:
        if not _is_plain(call) or not self._pays(call):
            return call.run()
        parts: list[Square] = []
        query, key, value, bias, *_ = call
        ran = Attended(query, key, value, value, call.factor, bias)
        output = self._run(ran, parts)
        self._kept[id(output)] = ran._replace(output=output), parts
        return output

    @abstractmethod
    def _pays(self, call: Call) -> bool:
        """Tell whether this attention is one to keep."""

    @abstractmethod
    def _run(self, ran: Attended, parts: list[Square]) -> Output:
        """Compute the output of a record that has none yet; its matrix goes to `parts`."""


class Fusing(Keeping):
    """Keep the weights, where nothing is differentiated."""

    def _pays(self, call: Call) -> bool:
        return not torch.is_grad_enabled()

    def _run(self, ran: Attended, parts: list[Square]) -> Output:
        value, (batch, heads, queries, _) = ran.value, ran.query.shape
        output = value.new_empty(batch, queries, heads, value.shape[3]).transpose(1, 2)
        for here, weights in weights_in_pieces(ran):
            output[here] = weights @ value[here]
            parts.append(self._fuse(weights))
        return output


def _is_plain(call: Call) -> bool:
    query, key, value, bias, *_ = call
    return (
        not (call.dropout_p or call.is_causal or call.enable_gqa)
        and query.ndim == 4
        and query.device.type == "cpu"
        and query.dtype in (torch.float32, torch.float64)
        and query.dtype == key.dtype == value.dtype
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and query.shape[3] == value.shape[3]
        and not torch.is_autocast_enabled("cpu")
        and query.element_size() * len(query) * query.shape[2] * key.shape[2] <= ROOM
        and (bias is None or (bias.dtype == query.dtype and bool(bias.isfinite().all())))
    )
