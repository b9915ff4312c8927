"""Behind its last look a network need compute no token but those that its head reads."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Literal, Self, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from vision_attn.explain.call import Call
from vision_attn.explain.contract import Explainable
from vision_attn.explain.ending import last_look_of

Tokens: TypeAlias = Float[Tensor, "batch token dim"]
Stage: TypeAlias = Literal["before", "ready", "last look", "answered", "behind"]

ONE_BY_ONE = (F.linear, F.gelu, F.layer_norm)
"""Functions that treat every token alike and on its own."""
SUMS = (torch.Tensor.add, torch.Tensor.__add__, torch.add)


def only_read(
    model: Explainable, *, after: nn.Module | None = None, together: bool = False
) -> AbstractContextManager[object]:
    """Leave out what the head does not read, from the last look on, in what runs meanwhile.

    The head of a class-token network reads one token of many: 0 then stands for the others. The
    score and its gradients are the same to rounding. Does nothing for a network whose last look is
    not known or whose head reads most tokens, nor for another number of tokens than its readout's,
    nor before the layer `after`, where given, has run. `together` is for many gradients
    computed as one batch.
    """
    last = last_look_of(model)
    readout = None if last is None else model.readout
    if last is None or readout is None or not 0 < (readout != 0).float().mean() < 0.5:
        return nullcontext()
    assert isinstance(model, nn.Module)  # or it would have no layer to tell
    return _OnlyRead(model, last, readout != 0, after, together=together)


class _OnlyRead(TorchFunctionMode):
    def __init__(
        self,
        model: nn.Module,
        last: nn.Module,
        read: Bool[Tensor, " token"],
        after: nn.Module | None,
        *,
        together: bool,
    ):
        super().__init__()
        self._model, self._last, self._after = model, last, after
        self._together = together
        self._tokens = len(read)
        places = read.nonzero().flatten().tolist()
        in_a_row = places[-1] - places[0] + 1 == len(places)
        # Many gradients of a slice are computed as one batch, those of a mask one by one.
        self._read = slice(places[0], places[-1] + 1) if in_a_row else read
        self._stage: Stage = "before"
        # By tokens among zeros, which stay alive: their version, and those that are read.
        self._rows: dict[int, tuple[Tensor, int, Tensor]] = {}

    def __enter__(self) -> Self:
        self._hooks = ExitStack()
        start: Stage = "ready" if self._after is None else "before"
        self._reach(self._model.register_forward_pre_hook, start)
        if self._after is not None:
            self._reach(self._after.register_forward_hook, "ready")
        self._reach(self._last.register_forward_pre_hook, "last look")
        self._reach(self._last.register_forward_hook, "behind")
        self._reach(self._model.register_forward_hook, "before")
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        super().__exit__(*error)

    def _reach(self, register: Callable[..., Any], stage: Stage) -> None:
        def go_on(*_: object) -> None:
            if stage in ("before", "ready") or self._stage != "before":
                self._stage = stage

        self._hooks.callback(register(go_on).remove)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._stage == "last look" and func is F.scaled_dot_product_attention:
            return self._attend(Call(*args, **kwargs))
        if self._stage != "behind" or not args or not self._knows(args[0], 1):
            return func(*args, **kwargs)
        if func in ONE_BY_ONE and (func is not F.layer_norm or len(args[1]) == 1):
            return self._filled(func(self._some(args[0]), *args[1:], **kwargs))
        if func in SUMS and not kwargs and self._remembered(args[1]) is not None:
            return self._filled(self._some(args[0]) + self._some(args[1]))
        return func(*args, **kwargs)

    def _knows(self, tokens: Any, dim: int) -> bool:
        """Tell whether the readout is of so many tokens; images may have another size."""
        shape = getattr(tokens, "shape", ())
        return len(shape) == dim + 2 and shape[dim] == self._tokens

    def _some(self, tokens: Tokens) -> Tokens:
        """Take the tokens that are read."""
        rows = self._remembered(tokens)
        return tokens[:, self._read] if rows is None else rows

    def _remembered(self, tokens: Any) -> Tensor | None:
        if id(tokens) not in self._rows:
            return None
        known, version, rows = self._rows[id(tokens)]
        return rows if known._version == version else None

    def _filled(self, rows: Tokens) -> Tokens:
        """Put tokens among zeros, and remember them for who goes on with nothing else."""
        result = rows.new_zeros(len(rows), self._tokens, rows.shape[2])
        result[:, self._read] = rows
        self._rows[id(result)] = result, result._version, rows
        return result

    def _attend(self, call: Call) -> Float[Tensor, "batch head query dim"]:
        """Answer the queries of tokens that are read."""
        self._stage = "answered"  # what follows may have its axes in another order until it ends
        if call.is_causal or not self._knows(call.query, 2):
            return call.run()
        mask, tokens = call.attn_mask, call.query.shape[2]
        if mask is not None and mask.ndim > 1 and mask.shape[-2] == tokens:
            mask = mask[..., self._read, :]
        asked = call._replace(query=call.query[:, :, self._read], attn_mask=mask)
        # Of the fused kernel's many gradients each would be computed on its own.
        with sdpa_kernel(SDPBackend.MATH) if self._together else nullcontext():
            some = asked.run()
        batch, heads, _, width = some.shape
        result = some.new_zeros(batch, tokens, heads, width).transpose(1, 2)
        result[:, :, self._read] = some
        return result
