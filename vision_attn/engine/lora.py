"""LoRA: a linear layer stays as it is, and a change of low rank is learned beside it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LowRank(nn.Module):
    """Compute (weight + scale · up · down) · input + bias, and train only `up` and `down`.

    Weight and bias are those of the linear layer it replaces, under the same names. It starts as
    that layer, for `up` is 0. On the fused layer of queries, keys and values `down` serves all
    three.

    Hu 2022, equation 3 (arXiv:2106.09685).
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float):
        super().__init__()
        self.weight, self.bias, self.scale = linear.weight, linear.bias, scale
        linear.requires_grad_(False)
        outputs, inputs = linear.weight.shape
        self.down = nn.Parameter(linear.weight.new_empty(rank, inputs))
        self.up = nn.Parameter(linear.weight.new_zeros(outputs, rank))
        nn.init.normal_(self.down, std=inputs**-0.5)

    def forward(self, inputs: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        change = F.linear(F.linear(inputs, self.down), self.up)
        return F.linear(inputs, self.weight, self.bias) + self.scale * change

    def merged(self) -> Float[Tensor, "output input"]:
        """Give the one weight that computes the same; rounded once, from float64."""
        change = self.scale * self.up.double() @ self.down.double()
        return (self.weight.double() + change).to(self.weight.dtype)


@torch.no_grad()
def merged(model: nn.Module) -> dict[str, Tensor]:
    """Give the weights of the plain network that computes what a model with LoRA does.

    They share memory with the model's own where there is nothing to add.
    """
    state = dict(model.state_dict())
    for name, part in model.named_modules():
        if isinstance(part, LowRank):
            prefix = f"{name}." if name else ""
            del state[f"{prefix}up"], state[f"{prefix}down"]
            state[f"{prefix}weight"] = part.merged()
    return state
