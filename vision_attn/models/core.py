"""What joins glimpses into a state: recurrent networks, or attention over all seen so far."""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.attention.multihead import CrossAttention
from vision_attn.models.transformer import Mlp

Glimpse: TypeAlias = Float[Tensor, "batch dim"]
Memory: TypeAlias = tuple[Tensor, ...]
"""What a core keeps from one glimpse to the next; the first entry is what others may read."""


class RecurrentCore(nn.Module):
    """Add each glimpse to the state: h' = ReLU(W h + g).

    Mnih 2014, section 4 (arXiv:1406.6247).
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.state = nn.Linear(dim, dim)
        self.glimpse = nn.Linear(dim, dim, bias=False)

    def start(self, glimpse_like: Tensor) -> Memory:
        """Give the memory of one who has seen nothing."""
        return (glimpse_like.new_zeros(len(glimpse_like), self.dim),)

    def forward(self, glimpse: Glimpse, memory: Memory) -> Memory:
        return (F.relu(self.state(memory[0]) + self.glimpse(glimpse)),)


class LSTMCore(nn.Module):
    """Hochreiter's and Schmidhuber's memory cell, which keeps what it wants to keep."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.cell = nn.LSTMCell(dim, dim)

    def start(self, glimpse_like: Tensor) -> Memory:
        """Give the memory of one who has seen nothing."""
        nothing = glimpse_like.new_zeros(len(glimpse_like), self.dim)
        return nothing, nothing

    def forward(self, glimpse: Glimpse, memory: Memory) -> Memory:
        state, cell = memory
        return self.cell(glimpse, (state, cell))


class Layer(nn.Module):
    """A pre-norm transformer block for one new token, keys and values of earlier ones kept."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = CrossAttention(dim, heads)
        self.mlp = Mlp(dim, 2 * dim)

    def forward(
        self, token: Float[Tensor, "batch 1 dim"], key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed = self.norm1(token)
        new_key, new_value = self.attn.prepare(normed)
        key, value = torch.cat([key, new_key], 2), torch.cat([value, new_value], 2)
        token = token + self.attn.look(normed, key, value)
        return token + self.mlp(self.norm2(token)), key, value


class TransformerCore(nn.Module):
    """Let each glimpse look at itself and at all before it; the state is the newest token."""

    def __init__(self, dim: int, depth: int, heads: int, glimpses: int):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.layers = nn.ModuleList(Layer(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.order = nn.Parameter(torch.zeros(glimpses, dim))

    def start(self, glimpse_like: Tensor) -> Memory:
        """Give the memory of one who has seen nothing: no state, no keys, no values."""
        batch = len(glimpse_like)
        nothing = glimpse_like.new_zeros(batch, self.heads, 0, self.dim // self.heads)
        return glimpse_like.new_zeros(batch, self.dim), *[nothing] * 2 * len(self.layers)

    def forward(self, glimpse: Glimpse, memory: Memory) -> Memory:
        kept = list(memory[1:])
        token = (glimpse + self.order[kept[0].shape[2]]).unsqueeze(1)
        for number, layer in enumerate(self.layers):
            here = slice(2 * number, 2 * number + 2)
            token, *kept[here] = layer(token, *kept[here])
        return self.norm(token)[:, 0], *kept
