"""The sum of a gradient over all patches, for less than the gradient of every patch."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Self, TypeAlias

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.overrides import TorchFunctionMode

from vision_attn.explain.call import Call
from vision_attn.explain.ending import Enough
from vision_attn.explain.maps import at_least_float32

Tokens: TypeAlias = Float[Tensor, "batch token dim"]

LINEAR = (nn.Linear, NonDynamicallyQuantizableLinear, nn.Identity, nn.Dropout)
"""Parts through which queries, keys and values are linear in a token."""


class Shifting(TorchFunctionMode):
    """Move patches, where a layer attends, by one vector an image, the same for all of them.

    The vector is 0, but its gradient is the sum of the patches': it goes through the layer once, as
    a token of its own, and what becomes of it is added to the query, key and value of each patch.
    `vector` stays None where the layer is not seen to attend by them alone.
    """

    vector: Float[Tensor, "batch 1 dim"] | None = None

    def __init__(
        self,
        attending: nn.Module,
        patches: Callable[[int], Int[Tensor, " patch"]],
        asking: Bool[Tensor, " token"],
    ):
        """Wait for a layer to attend; `patches` says where they are among so many tokens.

        Where fewer queries come than there are tokens, they are those of the tokens `asking`.
        """
        super().__init__()
        self._attending, self._patches, self._asking = attending, patches, asking
        self._told: Tokens | None = None
        self._alone: Call | None = None
        self._listens = False

    def tell(self, tokens: Tensor) -> Tensor:
        """Note the copy of the layer's tokens that the network goes on with, to know it again."""
        self._told = tokens.clone()
        return self._told

    def __enter__(self) -> Self:
        self._hooks = ExitStack()
        register = self._attending.register_forward_pre_hook
        self._hooks.callback(register(self._before, with_kwargs=True).remove)
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        self._stop()

    def _stop(self) -> None:
        if self._listens:
            self._listens = False
            super().__exit__(None, None, None)

    def _before(
        self, attending: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]] | None:
        """Send the vector through the layer by itself, then let the tokens go without a graph."""
        told, self._told = self._told, None
        rest = [x for x in args if x is not told] + list(kwargs.values())
        if told is None or told.ndim != 3 or told._version or not all(map(_says_nothing, rest)):
            return None
        self._listens = True
        super().__enter__()  # from here on only: a mode costs every call that it hears
        vector = told.detach().new_zeros(len(told), 1, told.shape[2]).requires_grad_()
        with suppress(Enough):
            attending.forward(*_with(args, told, vector), **kwargs)
        if self._alone is None:
            self._stop()
            return None
        self.vector = vector
        self._mark = told.detach().new_zeros(told.shape[1], 1)
        self._mark[self._patches(told.shape[1])] = 1
        return _with(args, told, told.detach()), kwargs

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        call = Call(*args, **kwargs)
        if self._alone is not None:
            return self._moved(call, self._alone)
        adds = call.attn_mask is None or call.attn_mask.is_floating_point()
        if adds and not call.is_causal and not call.enable_gqa:
            self._alone = call
        raise Enough

    def _moved(self, call: Call, alone: Call) -> Tensor:
        """Attend as if every patch had moved with the token that is alone."""
        query, key, value = (at_least_float32(x) for x in call[:3])
        by_query, by_key, by_value = (at_least_float32(x - x.detach()) for x in alone[:3])
        mark = at_least_float32(self._mark)
        asking = mark if query.shape[2] == len(mark) else mark[self._asking]
        query = query + asking * by_query
        scores = query @ key.mT + query @ by_key.mT * mark.T
        bias = 0 if call.attn_mask is None else call.attn_mask
        weights = (scores * call.factor + bias).softmax(-1)
        return (weights @ value + weights @ mark * by_value).to(call.value.dtype)


def is_linear(attending: nn.Module) -> bool:
    """Tell whether queries, keys and values are linear in the layer's tokens, and gate nothing."""
    parts = list(attending.modules())[1:]
    return getattr(attending, "gate", None) is None and all(type(x) in LINEAR for x in parts)


def _says_nothing(argument: object) -> bool:
    return argument is None or isinstance(argument, bool)


def _with(args: tuple, told: Tokens, instead: Tokens) -> tuple:
    return tuple(instead if x is told else x for x in args)
