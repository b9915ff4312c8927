"""Muon: orthogonal updates for the matrices inside a network, AdamW for everything else.

timm's Muon multiplies in bfloat16 on any hardware; where that is emulated it would cost more than
the network itself, so here the data type follows the hardware.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw


class Muon(Optimizer):
    """Move matrices by their momentum made orthogonal; groups with `use_fallback` go to AdamW.

    Filters count as matrices with one row an output channel. An update of a matrix has the root
    mean square that is usual for AdamW, 0.2 times the rate, so that one rate suits both parts.
    Weight decay is decoupled.

    Jordan 2024 (kellerjordan.github.io/posts/muon); the size of the update: Liu 2025, equation 4
    (arXiv:2502.16982).
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        rate: float,
        momentum: float,
        betas: tuple[float, float] = (0.9, 0.95),
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(groups, {"lr": rate, "weight_decay": 0.0, "use_fallback": False})
        self.momentum, self.betas, self.dtype = momentum, betas, dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        assert closure is None, "the loop computes the gradient"
        for group in self.param_groups:
            parameters = [x for x in group["params"] if x.grad is not None]
            if group["use_fallback"]:
                self._adamw(parameters, group)
            else:
                self._muon(parameters, group)

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        alike = defaultdict(list)  # one batched product for all matrices of a shape
        for parameter in parameters:
            assert parameter.grad is not None
            if not (state := self.state[parameter]):
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].lerp_(parameter.grad, 1 - self.momentum)
            ahead = parameter.grad.lerp(momentum, self.momentum)
            alike[ahead.flatten(1).shape].append((parameter, ahead.flatten(1)))
        for shape, pairs in alike.items():
            updates = orthogonal(torch.stack([ahead for _, ahead in pairs]), self.dtype)
            size = 0.2 * max(shape) ** 0.5
            for (parameter, _), update in zip(pairs, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * size)

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not (state := self.state[parameter]):
                state["step"] = torch.tensor(0.0)
                state["mean"] = torch.zeros_like(parameter)
                state["square"] = torch.zeros_like(parameter)
        states = [self.state[x] for x in parameters]
        adamw(
            parameters,
            [x.grad for x in parameters if x.grad is not None],
            [x["mean"] for x in states],
            [x["square"] for x in states],
            [],
            [x["step"] for x in states],
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonal(
    matrices: Float[Tensor, "matrix row column"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "matrix row column"]:
    """Bring all singular values of each matrix near 1 (0.7 to 1.2) by five Newton-Schulz steps.

    Jordan 2024: the quintic a x + b x³ + c x⁵ with a steep slope at 0.
    """
    x = matrices.to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    for _ in range(5):
        square = x @ x.mT
        square = torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, square, x, beta=3.4445)
    return (x.mT if tall else x).to(matrices.dtype)
