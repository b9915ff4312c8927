"""From all tokens to the one vector that the head reads."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.attention.multihead import attend, join_heads, split_heads
from vision_attn.models.transformer import Mlp
from vision_attn.tape import Attended


class SequencePool(nn.Module):
    """Average the tokens with weights softmax(w · token): attention with one learned query.

    Hassani 2021, section 3.3 (arXiv:2104.05704), without its bias, which a softmax cancels.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, 1, dim))

    def forward(
        self, tokens: Float[Tensor, "batch token dim"], record: list[Attended] | None = None
    ) -> Float[Tensor, "batch dim"]:
        keys = tokens.unsqueeze(1)
        query = self.query.to(tokens.dtype).expand(len(tokens), -1, -1, -1)
        return attend(query, keys, keys, record, scale=1.0).flatten(1)


class AttentionPool(nn.Module):
    """Let one learned query look at the tokens with several heads, then refine by an MLP.

    Zhai 2022, section 2.2 (MAP, arXiv:2106.04560); parameters are named as in timm.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4.0, norm_eps: float = 1e-6):
        super().__init__()
        self.heads = heads
        self.latent = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.trunc_normal_(self.latent, std=dim**-0.5)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self, tokens: Float[Tensor, "batch token dim"], record: list[Attended] | None = None
    ) -> Float[Tensor, "batch dim"]:
        query = split_heads(self.q(self.latent.expand(len(tokens), -1, -1)), self.heads)
        key, value = (split_heads(x, self.heads) for x in self.kv(tokens).chunk(2, dim=-1))
        pooled = self.proj(join_heads(attend(query, key, value, record)))
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]
