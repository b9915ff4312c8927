"""The transformer encoder block and its parts, pre-norm as every Vision Transformer has them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.attention.multihead import MultiHeadAttention, Rotation
from vision_attn.tape import Attended


class LayerScale(nn.Module):
    """Scale every channel of a residual branch by a learned factor.

    Touvron 2021, equation 4 (arXiv:2103.17239).
    """

    def __init__(self, dim: int, initial: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial))

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        return tokens * self.gamma


class DropPath(nn.Module):
    """Leave the residual branch out for a random share of the images while training.

    What stays is scaled by 1 / (1 - rate). Huang 2016 (arXiv:1603.09382).
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        if not self.training:
            return tokens
        keep = tokens.new_empty(len(tokens), 1, 1).bernoulli_(1 - self.rate)
        return tokens * keep / (1 - self.rate)


class Mlp(nn.Module):
    """Transform every token by itself: linear, GELU, linear."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(tokens)))))


class Block(nn.Module):
    """Mix between tokens by attention, then within each token by an MLP; both residual.

    Dosovitskiy 2021, equations 2 and 3 (arXiv:2010.11929).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        *,
        qkv_bias: bool = True,
        qk_norm: bool = False,
        norm_eps: float = 1e-6,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ):
        super().__init__()

        def branch_end() -> tuple[nn.Module, nn.Module]:
            scale = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
            return scale, DropPath(drop_path) if drop_path else nn.Identity()

        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = MultiHeadAttention(
            dim,
            heads,
            qkv_bias=qkv_bias,
            qk_norm=qk_norm,
            norm_eps=norm_eps,
            attention_dropout=attention_dropout,
            dropout=dropout,
        )
        self.ls1, self.drop_path1 = branch_end()
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dropout)
        self.ls2, self.drop_path2 = branch_end()

    def forward(
        self,
        tokens: Float[Tensor, "batch token dim"],
        record: list[Attended] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch token dim"]:
        mixed = self.attn(self.norm1(tokens), record, rotation)
        tokens = tokens + self.drop_path1(self.ls1(mixed))
        return tokens + self.drop_path2(self.ls2(self.mlp(self.norm2(tokens))))
