"""Behind its last look a network need compute no token but those that its head reads."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from threading import get_ident
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
Rows: TypeAlias = Float[Tensor, "*copy batch token dim"]
"""Tokens that are read; where they come in several copies, other tokens stand for the first."""
Stage: TypeAlias = Literal["before", "ready", "last look", "answered", "behind"]

ONE_BY_ONE = (F.linear, F.gelu, F.layer_norm)
"""Functions that treat every token alike and on its own."""
SUMS = (torch.Tensor.add, torch.Tensor.__add__, torch.add)
PRODUCTS = (torch.Tensor.mul, torch.Tensor.__mul__, torch.mul)


def only_read(
    model: Explainable, *, after: nn.Module | None = None, together: bool = False
) -> AbstractContextManager[object]:
    """Leave out what the head does not read, from the last look on, in what runs meanwhile.

    The head of a class-token network reads one token of many: 0 then stands for the others. The
    score and its gradients are the same to rounding. Does nothing for a network whose last look is
    not known or whose head reads most tokens, nor for another number of tokens than its readout's,
    nor before the layer `after`, where given, has run: this mode then lies above those that the
    network has entered before its last look. `together` is for many gradients computed as one
    batch.
    """
    last = last_look_of(model)
    readout = None if last is None else model.readout
    if last is None or readout is None or not 0 < (readout != 0).float().mean() < 0.5:
        return nullcontext()
    assert isinstance(model, nn.Module)  # or it would have no layer to tell
    return OnlyRead(model, last, readout != 0, after, together=together)


class OnlyRead(TorchFunctionMode):
    """Have the tokens `read` alone run behind the layer `last`; `only_read` makes it.

    Who is set to `ask` attends instead, and is told whether tokens that are read ask alone: then
    the answer may have several copies, on a first axis. The network goes on with all of them, its
    head has them as so many batches in one, and the logits are (copy batch) of them, unless
    something on the way takes other tokens as well: then it is the first alone that goes on.
    """

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
        self.model, self.last, self.read = model, last, read
        self.ask: Callable[[Call, bool], Tensor] = _run
        self._after, self._together = after, together
        self._tokens = len(read)
        places = read.nonzero().flatten().tolist()
        in_a_row = places[-1] - places[0] + 1 == len(places)
        # Many gradients of a slice are computed as one batch, those of a mask one by one.
        self._read = slice(places[0], places[-1] + 1) if in_a_row else read
        self._stage: Stage = "before"
        # By tokens among zeros, which stay alive: their version, and those that are read.
        self._rows: dict[int, tuple[Tensor, int, Rows]] = {}
        self._answer: tuple[Tensor, int, Rows] | None = None

    def __enter__(self) -> Self:
        self._hooks = ExitStack()
        start: Stage = "ready" if self._after is None else "before"
        self._reach(self.model.register_forward_pre_hook, start)
        if self._after is not None:
            self._reach(self._after.register_forward_hook, "ready")
        self._reach(self.last.register_forward_pre_hook, "last look")
        self._reach(self.last.register_forward_hook, "behind")
        self._reach(self.model.register_forward_hook, "before")
        self._listens = False
        if self._after is None:  # modes that the network itself enters have to lie above this one
            self._listen()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        if self._listens:
            super().__exit__(*error)

    def _listen(self) -> None:
        if not self._listens:
            self._listens = True
            super().__enter__()

    def _reach(self, register: Callable[..., Any], stage: Stage) -> None:
        owner = get_ident()

        def go_on(*_: object) -> None:
            if get_ident() != owner:
                return
            if stage in ("before", "ready") or self._stage != "before":
                self._stage = stage
            if self._stage == "last look":  # and no sooner: a mode costs every call that it hears
                self._listen()

        self._hooks.callback(register(go_on).remove)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and self._stage in ("last look", "answered"):
            return self._attend(Call(*args, **kwargs))
        if self._stage == "answered" and func is F.linear and args:
            rows = self._answered(args[0])
            if rows is not None:
                return self._filled(func(rows, *args[1:], **kwargs))
        if self._stage != "behind" or not args or not self._knows(args[0], 1):
            return func(*args, **kwargs)
        if _is_one_by_one(func, args, kwargs):
            return self._filled(func(self._some(args[0]), *args[1:], **kwargs))
        if func in SUMS and not kwargs and (rows := self._sum(*args)) is not None:
            return self._filled(rows)
        if func is torch.Tensor.__getitem__ and (row := self._row(*args)) is not None:
            return row
        return func(*args, **kwargs)

    def _sum(self, one: Tokens, other: Any) -> Rows | None:
        """Add tokens to those remembered, unless a gradient would get from one copy to others."""
        if self._remembered(other) is None:
            return None
        rows = self._some(one), self._some(other)
        fewer, more = sorted(rows, key=Tensor.dim)
        alone = fewer.ndim < more.ndim and fewer.requires_grad
        return None if alone else rows[0] + rows[1]

    def _row(self, tokens: Tokens, index: Any) -> Float[Tensor, "row dim"] | None:
        """Take one token that is read from those remembered: its gradient needs no zeros."""
        rows, read = self._remembered(tokens), self._read
        if rows is None or not isinstance(read, slice) or not isinstance(index, tuple):
            return None
        if len(index) != 2 or index[0] != slice(None) or type(index[1]) is not int:
            return None
        inside = read.start <= index[1] < read.stop
        return rows.select(-2, index[1] - read.start).flatten(0, -2) if inside else None

    def _knows(self, tokens: Any, dim: int) -> bool:
        """Tell whether the readout is of so many tokens; images may have another size."""
        shape = getattr(tokens, "shape", ())
        return len(shape) == dim + 2 and shape[dim] == self._tokens

    def _some(self, tokens: Tokens) -> Rows:
        """Take the tokens that are read."""
        rows = self._remembered(tokens)
        return tokens[:, self._read] if rows is None else rows

    def _remembered(self, tokens: Any) -> Rows | None:
        if id(tokens) not in self._rows:
            return None
        known, version, rows = self._rows[id(tokens)]
        return rows if known._version == version else None

    def _filled(self, rows: Rows) -> Tokens:
        """Put tokens among zeros, and remember them for who goes on with nothing else."""
        first = rows if rows.ndim == 3 else rows[0]
        result = rows.new_zeros(len(first), self._tokens, first.shape[2])
        result[:, self._read] = first
        self._rows[id(result)] = result, result._version, rows
        return result

    def _attend(self, call: Call) -> Float[Tensor, "batch head query dim"]:
        """Answer the queries of tokens that are read."""
        again = self._stage == "answered"
        self._stage = "answered"  # what follows may have its axes in another order until it ends
        if again or call.is_causal or not self._knows(call.query, 2):
            return self.ask(call, False)
        mask, tokens = call.attn_mask, call.query.shape[2]
        if mask is not None and mask.ndim > 1 and mask.shape[-2] == tokens:
            mask = mask[..., self._read, :]
        asked = call._replace(query=call.query[:, :, self._read], attn_mask=mask)
        # Of the fused kernel's many gradients each would be computed on its own.
        with sdpa_kernel(SDPBackend.MATH) if self._together else nullcontext():
            some = self.ask(asked, True)
        first = some if some.ndim == 4 else some[0]
        batch, heads, _, width = first.shape
        result = some.new_zeros(batch, tokens, heads, width).transpose(1, 2)
        result[:, :, self._read] = first
        if self._together:  # who follows one gradient may ask for that of the whole answer
            self._answer = result, result._version, some.transpose(-3, -2).flatten(-2)
        return result

    def _answered(self, tokens: Any) -> Rows | None:
        """Give what is read of the answer where these are its very numbers, heads joined."""
        if self._answer is None:
            return None
        answer, version, rows = self._answer
        same = (
            tokens.shape == (rows.shape[-3], self._tokens, rows.shape[-1])
            and tokens.data_ptr() == answer.data_ptr()
            and tokens.is_contiguous()
            and answer._version == version
        )
        return rows if same else None


def _run(call: Call, several: bool) -> Tensor:
    return call.run()


def _is_one_by_one(func: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Tell whether this treats every token alike; a product does if it is by one row of weights."""
    if func in PRODUCTS:
        return not kwargs and isinstance(args[1], Tensor) and args[1].ndim == 1
    return func in ONE_BY_ONE and (func is not F.layer_norm or len(args[1]) == 1)
