"""Gradients of tokens that a score does not depend on are zero; here they cost nothing."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

Features = Float[Tensor, "*position channel"]


class SkippingUnreached(TorchFunctionMode):
    """Let frozen linear layers that run meanwhile differentiate only what the gradient reaches.

    The head of a class-token network reads one token, so behind the last attention no gradient
    reaches the others. The result is the same to rounding.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _is_plain(*args):
            return _Linear.apply(*args)
        return func(*args, **(kwargs or {}))


def reached(gradient: Float[Tensor, "*batch token channel"]) -> Bool[Tensor, " token"]:
    """Tell which tokens the gradient of any image gets to."""
    one = gradient[..., 0].flatten(0, -2)
    if one.all():  # most often so, and one channel is quickly read
        return one.any(0)
    return torch.linalg.vector_norm(gradient, 1, dim=-1).flatten(0, -2).any(0)


def _is_plain(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Tell whether this is a frozen layer over tokens, in one precision, in the graph."""
    return (
        features.ndim > 2
        and features.requires_grad
        and torch.is_grad_enabled()
        and not weight.requires_grad
        and (bias is None or not bias.requires_grad)
        and not torch.is_autocast_enabled(features.device.type)
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Features, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        # What a plain layer saves, which a network that recomputes its layers later compares.
        ctx.save_for_backward(weight.t())
        return F.linear(features, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Features) -> tuple[Features, None, None]:
        (turned,) = ctx.saved_tensors
        tokens = gradient.flatten(1, -2)
        some = reached(tokens)
        if some.all():
            return gradient @ turned.t(), None, None
        through = tokens.new_zeros(*tokens.shape[:2], len(turned))
        # A product for each image: one for all would round by how many images there are.
        through[:, some] = tokens[:, some] @ turned.t().expand(len(tokens), -1, -1)
        return through.view(*gradient.shape[:-1], -1), None, None
