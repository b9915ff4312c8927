"""From what is seen to words: a transformer that looks in every block."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vision_attn.attention.multihead import (
    CrossAttention,
    MultiHeadAttention,
    attend,
    join_heads,
    split_heads,
)
from vision_attn.attention.window import Places
from vision_attn.language.vocabulary import PAD
from vision_attn.models.caption_config import TransformerDecoderConfig
from vision_attn.models.decoders import Logits, State, Step, Words, preceding
from vision_attn.models.gaze import STEADY, Manner, Seen
from vision_attn.models.transformer import Mlp
from vision_attn.models.wording import draw, log_probabilities
from vision_attn.tape import Attended, Tape


class Library(NamedTuple):
    """Keys and values of the regions, one of each a block."""

    keys: tuple[Float[Tensor, "batch head region head_dim"], ...]
    values: tuple[Float[Tensor, "batch head region head_dim"], ...]
    bias: Float[Tensor, "batch 1 1 region"] | None
    """-inf where a region is padding."""

    def keep(self, images: Int64[Tensor, " kept"]) -> "Library":
        """Leave only these images."""
        keys, values = (tuple(x[images] for x in part) for part in self[:2])
        return Library(keys, values, None if self.bias is None else self.bias[images])


class CausalAttention(MultiHeadAttention):
    """Self-attention over the words so far, at once or going on word by word."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__(dim, heads, dropout=dropout, causal=True)

    def extend(
        self,
        token: Float[Tensor, "batch 1 dim"],
        keys: Float[Tensor, "batch head time head_dim"],
        values: Float[Tensor, "batch head time head_dim"],
    ) -> tuple[Float[Tensor, "batch 1 dim"], Tensor, Tensor]:
        """Take one more word; give also the keys and values with it."""
        query, key, value = (split_heads(x, self.heads) for x in self.qkv(token).chunk(3, -1))
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        return self.proj_drop(self.proj(join_heads(attend(query, keys, values)))), keys, values


class DecoderBlock(nn.Module):
    """Mix the words, look at the regions, transform every word; all residual, norms first.

    Vaswani 2017, section 3.1 (arXiv:1706.03762), with the norms of Vision Transformers.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = CausalAttention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.cross = CrossAttention(dim, heads, dropout=dropout)
        self.norm3 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), dropout)

    def look(
        self,
        tokens: Float[Tensor, "batch query dim"],
        sight: Library,
        number: int,
        record: list[Attended],
    ) -> Float[Tensor, "batch query dim"]:
        """Look at the regions and transform; `number` is that of this block."""
        found = self.cross.look(
            self.norm2(tokens), sight.keys[number], sight.values[number], record, sight.bias
        )
        tokens = tokens + found
        return tokens + self.mlp(self.norm3(tokens))


class TransformerDecoder(nn.Module):
    """Attend to the words so far and to the regions, in every block."""

    def __init__(self, config: TransformerDecoderConfig, vocabulary: int):
        super().__init__()
        dim = config.dim
        self.dim, self.heads = dim, config.heads
        self.embed = nn.Embedding(vocabulary, dim, padding_idx=PAD)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            DecoderBlock(dim, config.heads, config.mlp_ratio, config.dropout)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, vocabulary)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)

    def prepare(self, regions: Float[Tensor, "batch region dim"], places: Places) -> Library:
        """Compute keys and values of all blocks, which serve all words to come."""
        pairs = [block.cross.prepare(regions) for block in self._blocks]
        bias = None
        if places.hidden is not None:
            bias = regions.new_zeros(places.hidden.shape).masked_fill(places.hidden, -torch.inf)
            bias = bias[:, None, None]
        return Library(tuple(key for key, _ in pairs), tuple(value for _, value in pairs), bias)

    def begin(self, sight: Library, queries: int) -> State:
        """Give empty caches: keys and values of each block in turn."""
        shape = len(sight.keys[0]), queries, self.heads, 0, self.dim // self.heads
        return tuple(sight.keys[0].new_zeros(shape) for _ in range(2 * len(self.blocks)))

    def step(
        self,
        words: Int64[Tensor, "batch query"],
        state: State,
        sight: Library,
        word: int,
        manner: Manner,
    ) -> Step:
        """Take the previous word of every caption and say what may be word number `word`."""
        batch = words.shape
        tokens = self._embedded(words.unsqueeze(-1), word).flatten(0, 1)
        past, record = [], list[Attended]()
        for number, block in enumerate(self._blocks):
            keys, values = (x.flatten(0, 1) for x in state[2 * number : 2 * number + 2])
            mixed, *caches = block.attn.extend(block.norm1(tokens), keys, values)
            past += [cache.unflatten(0, batch) for cache in caches]
            tokens = (tokens + mixed).squeeze(1).unflatten(0, batch)
            tokens = block.look(tokens, sight, number, record).flatten(0, 1).unsqueeze(1)
        tokens = self.norm(tokens).squeeze(1).unflatten(0, batch)
        weights = torch.cat([look.weights().transpose(1, 2) for look in record], 2)
        return Step(self.head(self.drop(tokens)), tuple(past), Seen(tokens, weights))

    def forward(
        self,
        words: Words,
        sight: Library,
        tape: Tape | None = None,
        manner: Manner = STEADY,
        own_words: float = 0.0,
    ) -> Logits:
        """Say for every word what might have stood there, given those before it.

        With probability `own_words` a word before is replaced by one that the decoder draws in a
        first pass over the given ones: Mihaylova, Martins 2019 (arXiv:1906.07651).
        """
        given = preceding(words)
        if own_words:
            with torch.no_grad():
                said = preceding(draw(log_probabilities(self._logits(given, sight, None)), None))
            own = torch.rand(given.shape, device=given.device) < own_words
            own[..., 0] = False
            given = torch.where(own, said, given)
        return self._logits(given, sight, tape)

    def _logits(self, given: Words, sight: Library, tape: Tape | None) -> Logits:
        batch, captions, length = given.shape
        tokens = self._embedded(given, 0).flatten(0, 1)
        for number, block in enumerate(self._blocks):
            record: list[Attended] = []
            tokens = tokens + block.attn(block.norm1(tokens))
            flat = tokens.reshape(batch, captions * length, self.dim)
            tokens = block.look(flat, sight, number, record).reshape(-1, length, self.dim)
            if tape is not None:
                weights = record[0].weights().unflatten(2, (captions, length))
                tape.looks.append(weights.transpose(1, 2).flatten(0, 1))
        return self.head(self.drop(self.norm(tokens))).unflatten(0, (batch, captions))

    def _embedded(self, words: Words, first: int) -> Float[Tensor, "batch caption word dim"]:
        """Embed words whose first one is number `first`, with their positions."""
        embedded = self.embed(words) * self.dim**0.5
        positions = sequence_positions(first, words.shape[-1], self.dim)
        return self.drop(embedded + positions.to(embedded))

    @property
    def _blocks(self) -> list[DecoderBlock]:
        return [block for block in self.blocks if isinstance(block, DecoderBlock)]


def sequence_positions(first: int, length: int, dim: int) -> Float[Tensor, "word dim"]:
    """Compute fixed positions: half of the width for sines, half for cosines.

    Vaswani 2017, section 3.5 (arXiv:1706.03762), sines and cosines in blocks.
    """
    frequencies = 10_000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = torch.arange(first, first + length)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1).float()
