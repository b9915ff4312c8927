"""The sum of a gradient over all patches, for less than the gradient of every patch."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

Tokens = Float[Tensor, "batch token dim"]


class Shifting(TorchFunctionMode):
    """Move patches by one vector an image, which is 0 but whose gradient is the sum of theirs.

    A linear layer that runs meanwhile on what was moved multiplies the vector once, instead of
    every patch: W(a + s) = Wa + Ws.
    """

    shift: Float[Tensor, "batch 1 dim"] | None = None
    _moved: Tensor | None = None

    def move(self, activation: Tokens, patches: Int[Tensor, " patch"]) -> Tokens:
        """Give the activation, through which gradients go to `shift` and nowhere else."""
        batch, tokens, dim = activation.shape
        self._still = activation.detach()
        self._which = self._still.new_zeros(tokens, 1)
        self._which[patches] = 1
        self.shift = self._still.new_zeros(batch, 1, dim).requires_grad_()
        self._moved = self._still + self._which @ self.shift
        return self._moved

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and not kwargs and self._is_moved(args[0]):
            return self._linear(*args[1:])
        return func(*args, **kwargs)

    def _is_moved(self, tokens: Tensor) -> bool:
        return tokens is self._moved and not tokens._version  # which counts changes in place

    def _linear(self, weight: Tensor, bias: Tensor | None = None) -> Tokens:
        assert self.shift is not None  # it came with what was moved
        still = F.linear(self._still, weight, bias)
        return still + self._which @ F.linear(self.shift, weight)
