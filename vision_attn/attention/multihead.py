"""Multi-head attention: fused where that is fastest, written down where a tape asks for it."""

import time
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.tape import Attended

Rotation = tuple[Float[Tensor, "token head_dim"], Float[Tensor, "token head_dim"]]
"""Cosines and sines of the rotary embedding, one row a token; prefix tokens have angle 0."""


def attend(
    query: Float[Tensor, "batch head query head_dim"],
    key: Float[Tensor, "batch head key head_dim"],
    value: Float[Tensor, "batch head key value_dim"],
    record: list[Attended] | None = None,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch head query value_dim"]:
    """Average the values with weights softmax(scale · query · keyᵀ + bias).

    `scale` defaults to 1 / sqrt(head_dim); `bias` broadcasts to (batch, head, query, key) and is
    -inf where a key is hidden; `dropout` acts on the weights. With a record, what the weights are
    computed from is appended to it: both ways give the same output to rounding.

    Vaswani 2017, equation 1 (arXiv:1706.03762).
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    learns = query.requires_grad or key.requires_grad or value.requires_grad
    if takes_fused(query.device.type, query.dtype, learns and torch.is_grad_enabled()):
        output = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=dropout, scale=scale
        )
    else:
        output = written_out(query, key, value, scale, bias, dropout)
    if record is not None:
        record.append(Attended(query, key, value, output, scale, bias))
    return output


def written_out(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None, dropout: float
) -> Tensor:
    """Compute attention from two matrix products and a softmax."""
    scores = (query * scale) @ key.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    weights = scores.softmax(-1)
    if dropout:
        weights = F.dropout(weights, dropout)
    return weights @ value


def takes_fused(device: str, dtype: torch.dtype, learns: bool) -> bool:
    """Tell whether torch's fused kernel is the faster path: always but in bf16 on the CPU.

    Where that is native the kernel is fast forwards and slow backwards, and only what `learns` does
    without it; elsewhere a trial decides.
    """
    return device != "cpu" or dtype != torch.bfloat16 or not _written_out_wins(learns)


def _written_out_wins(learns: bool) -> bool:
    return learns if has_native_bf16() else _probe()


# What torch.compiler.assume_constant_result does, without importing the compiler (2 seconds).
_written_out_wins._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def has_native_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices in hardware."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@cache
def _probe() -> bool:
    # Without native bf16 neither path is known to win, so both are timed once, backward included.
    # The margin keeps the answer, and with it the bits of a resumed run, from hanging on noise.
    def seconds(fused: bool) -> float:
        q, k, v = torch.ones(3, 1, 2, 17, 16, dtype=torch.bfloat16, requires_grad=True).unbind(0)
        fastest = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            if fused:
                output = F.scaled_dot_product_attention(q, k, v)
            else:
                output = written_out(q, k, v, 0.25, None, 0.0)
            torch.autograd.grad(output.sum(), (q, k, v))
            fastest = min(fastest, time.perf_counter() - start)
        return fastest

    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        return seconds(fused=True) > 1.5 * seconds(fused=False)


def split_heads(
    tokens: Float[Tensor, "batch token dim"], heads: int
) -> Float[Tensor, "batch head token head_dim"]:
    """Cut the width of every token into heads."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(
    tokens: Float[Tensor, "batch head token head_dim"],
) -> Float[Tensor, "batch token dim"]:
    """Put the heads of every token side by side again."""
    return tokens.transpose(1, 2).flatten(2)


def rotate(
    tokens: Float[Tensor, "batch head token head_dim"], rotation: Rotation
) -> Float[Tensor, "batch head token head_dim"]:
    """Turn each pair (i, i + head_dim / 2) of a token's features by the token's angles.

    Su 2021, equation 34 with halves in place of neighbours (arXiv:2104.09864).
    """
    cosines, sines = (x.to(tokens.dtype) for x in rotation)
    first, second = tokens.chunk(2, dim=-1)
    return tokens * cosines + torch.cat([-second, first], dim=-1) * sines


def causal_bias(tokens: int, device: torch.device) -> Float[Tensor, "query key"]:
    """Hide from every token those that come after it."""
    return torch.full((tokens, tokens), float("-inf"), device=device).triu(1)


class MultiHeadAttention(nn.Module):
    """Let every token look at all tokens (or, if causal, at those before it) with several heads.

    Vaswani 2017, section 3.2.2 (arXiv:1706.03762); parameters are named as in timm.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        qkv_bias: bool = True,
        qk_norm: bool = False,
        norm_eps: float = 1e-6,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
        causal: bool = False,
    ):
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads must divide dim, got dim={dim} and heads={heads}")
        self.heads = heads
        self.causal = causal
        self.attention_dropout = attention_dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(dim // heads, eps=norm_eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // heads, eps=norm_eps) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch token dim"],
        record: list[Attended] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch token dim"]:
        batch, count, _ = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        query, key = self.q_norm(query), self.k_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        output = attend(
            query,
            key,
            value,
            record,
            bias=causal_bias(count, tokens.device) if self.causal else None,
            dropout=self.attention_dropout if self.training else 0.0,
        )
        return self.proj_drop(self.proj(join_heads(output)))


class CrossAttention(nn.Module):
    """Let every query token look at a memory, such as the regions of an image."""

    def __init__(
        self, dim: int, heads: int, *, memory_dim: int | None = None, dropout: float = 0.0
    ):
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads must divide dim, got dim={dim} and heads={heads}")
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim if memory_dim is None else memory_dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch query dim"],
        memory: Float[Tensor, "batch key memory_dim"],
        record: list[Attended] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        return self.look(tokens, *self.prepare(memory), record)

    def prepare(
        self, memory: Float[Tensor, "batch key memory_dim"]
    ) -> tuple[Float[Tensor, "batch head key head_dim"], Float[Tensor, "batch head key head_dim"]]:
        """Compute keys and values, which serve all queries to come."""
        key, value = self.kv(memory).chunk(2, dim=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def look(
        self,
        tokens: Float[Tensor, "batch query dim"],
        key: Float[Tensor, "batch head key head_dim"],
        value: Float[Tensor, "batch head key head_dim"],
        record: list[Attended] | None = None,
        bias: Tensor | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Look at keys and values that were prepared; `bias` is -inf where a key is hidden."""
        query = split_heads(self.q(tokens), self.heads)
        return self.proj_drop(self.proj(join_heads(attend(query, key, value, record, bias=bias))))
