"""The sum of a gradient over all patches, for less than the gradient of every patch."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import get_ident
from typing import Any, Self, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.overrides import TorchFunctionMode

from vision_attn.explain.call import Call
from vision_attn.explain.ending import Enough
from vision_attn.explain.frozen import parts_of
from vision_attn.explain.maps import at_least_float32

Tokens: TypeAlias = Float[Tensor, "batch token dim"]

LINEAR = (nn.Linear, NonDynamicallyQuantizableLinear, nn.Identity, nn.Dropout)
"""Parts of a layer through which queries, keys and values are linear in a token."""


class Shifting:
    """Move patches, where a layer attends, by one vector an image, the same for all of them.

    The gradient of the vector is the sum of the patches': it goes through the layer once, as a
    token of its own, and how it would change there is added to the query, key and value of each
    patch, which itself takes no gradient; who hears the layer attend has to let this `answer`.
    `vector` stays None where the layer is not seen to attend by its tokens alone. Of several copies
    each has the gradient of what is answered with it.
    """

    vector: Float[Tensor, "batch copy dim"] | None = None

    def __init__(
        self,
        attending: nn.Module,
        patches: Callable[[int], Int[Tensor, " patch"]],
        asking: Bool[Tensor, " token"],
        copies: int = 1,
    ):
        """Wait for a layer to attend; `patches` says where they are among so many tokens.

        Where fewer queries come than there are tokens, they are those of the tokens `asking`.
        """
        self._attending, self._patches, self._asking = attending, patches, asking
        self._copies = copies
        self._told: Tokens | None = None
        self._alone: Call | None = None
        self._agreed: list[bool] = []

    @property
    def holds(self) -> bool:
        """Whether the layer attended once, and keys and values were linear in its tokens."""
        return self._agreed == [True]

    def tell(self, tokens: Tensor) -> Tensor:
        """Note the copy of the layer's tokens that the network goes on with, to know it again."""
        self._told = tokens.clone()
        return self._told

    def __enter__(self) -> Self:
        register, self._owner = self._attending.register_forward_pre_hook, get_ident()
        self._hook = register(self._before, with_kwargs=True)
        return self

    def __exit__(self, *error: Any) -> None:
        self._hook.remove()

    def _before(
        self, attending: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]] | None:
        """Send the vector through the layer by itself, then let the tokens go without a graph."""
        if get_ident() != self._owner:
            return None
        told, self._told = self._told, None
        rest = [x for x in args if x is not told] + list(kwargs.values())
        if told is None or told.ndim != 3 or told._version or not all(map(_says_nothing, rest)):
            return None
        # Where all is linear any vector has the same gradient, and with their mean that shows.
        vector = told.detach().mean(1, keepdim=True).repeat(1, self._copies, 1).requires_grad_()
        # From few tokens may come an error.
        with suppress(Enough, RuntimeError, ValueError, IndexError), _Catching() as catching:
            attending.forward(*_with(args, told, vector), **kwargs)
        alone = catching.call
        if alone is None or not _is_plain(alone) or _counts(alone) != {self._copies}:
            return None
        self.vector, self._alone = vector, alone
        self._mark = told.detach().new_zeros(told.shape[1], 1)
        self._mark[self._patches(told.shape[1])] = 1
        return _with(args, told, told.detach()), kwargs

    def answer(
        self, call: Call, several: bool = False
    ) -> Float[Tensor, "*copy batch head query dim"]:
        """Attend with the first copy of the vector, or with each of `several`.

        Attend as ever where there is no vector, or the layer turns out not to be linear.
        """
        if self._alone is None:
            return call.run()
        self._agreed.append(self._agrees(call, self._alone))
        if not self.holds:
            return call.run()
        if several and self._copies > 1:
            return self._moved(call, self._alone[:3])
        return self._moved(call, [x[:, :, :1] for x in self._alone[:3]])[0]

    def _agrees(self, call: Call, alone: Call) -> bool:
        """Tell whether the mean token has the mean key and value, and where it moves any, query."""
        tokens, queries = len(self._mark), call.query.shape[2]
        pairs = [(call.key, alone.key), (call.value, alone.value)]
        if queries == tokens:
            pairs.append((call.query, alone.query))
        elif queries != self._asking.sum() or (self._asking.to(self._mark) @ self._mark).any():
            return False
        whole = _is_plain(call) and all(x.shape[2] == tokens for x in call[1:3])
        return whole and all(_is_mean(one, many) for many, one in pairs)

    def _moved(
        self, call: Call, alone: Sequence[Tensor]
    ) -> Float[Tensor, "copy batch head query dim"]:
        """Attend as if every patch had moved with the token that is alone."""
        query, key, value = (at_least_float32(x) for x in call[:3])
        by_query, by_key, by_value = (
            at_least_float32(x - x.detach())[:, :, :, None] for x in alone
        )
        mark = at_least_float32(self._mark)
        asked = query[:, :, None] * call.factor
        if query.shape[2] == len(mark):
            asked = asked + mark * by_query * call.factor
        scores = asked @ key[:, :, None].mT + asked @ by_key.mT * mark.T
        if call.attn_mask is not None:
            scores = scores + torch.atleast_2d(call.attn_mask)[..., None, :, :]
        weights = scores.softmax(-1)
        mixed = (weights.flatten(2, 3) @ value).unflatten(2, weights.shape[2:4])
        # The vector is 0, so that what the weights would make of it is no part of a gradient.
        moved = mixed + weights.detach() @ mark * by_value
        return moved.to(call.value.dtype).movedim(2, 0)


def _counts(call: Call) -> set[int]:
    """List how many queries, keys and values there are."""
    return {x.shape[2] for x in call[:3]}


class _Catching(TorchFunctionMode):
    """End what runs where it attends, and keep what it would have attended with."""

    call: Call | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            self.call = Call(*args, **(kwargs or {}))
            raise Enough
        return func(*args, **(kwargs or {}))


def _is_plain(call: Call) -> bool:
    """Tell whether this is attention by heads in which a mask, if there is one, is added."""
    adds = call.attn_mask is None or call.attn_mask.is_floating_point()
    by_heads = all(x.ndim == 4 for x in call[:3])
    return adds and by_heads and not call.is_causal and not call.enable_gqa


def _is_mean(one: Tensor, many: Tensor) -> bool:
    """Tell whether the first is the mean of the others but for rounding."""
    one, precision = at_least_float32(one.detach()), torch.finfo(many.dtype).eps
    many = at_least_float32(many.detach())
    size = torch.linalg.vector_norm(many) / many.numel() ** 0.5
    gap = torch.dist(one, many.mean(2, keepdim=True), torch.inf)
    return bool(gap <= max(1e-4, 16 * precision) * size)


def is_linear(attending: nn.Module) -> bool:
    """Tell whether queries, keys and values are linear in a layer's tokens, judged by its parts.

    What timm calls a gate is linear too, but multiplies what comes of them.
    """
    parts = list(attending.modules())[1:]
    return getattr(attending, "gate", None) is None and all(type(x) in LINEAR for x in parts)


def mixes_images(network: nn.Module) -> bool:
    """Tell whether a norm takes statistics of the batch in evaluation, and so of all copies."""
    return any(
        isinstance(part, _BatchNorm) and part.running_mean is None for part in parts_of(network)
    )


def _says_nothing(argument: object) -> bool:
    return argument is None or isinstance(argument, bool)


def _with(args: tuple, told: Tokens, instead: Tokens) -> tuple:
    return tuple(instead if x is told else x for x in args)
