"""A score and a window together: from a query to weights on the places of an image."""

from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vision_attn.attention.multihead import split_heads
from vision_attn.attention.score import (
    Additive,
    Cosine,
    Dot,
    General,
    Location,
    MultiHead,
    Prepared,
    ScaledDot,
    Score,
)
from vision_attn.attention.window import Places, Window

ScoreName: TypeAlias = Literal["cosine", "additive", "location", "general", "dot", "scaled_dot"]


class Memory(NamedTuple):
    """What can be looked at, prepared once for all queries to come."""

    prepared: Prepared
    values: Float[Tensor, "batch head key head_dim"]
    places: Places

    def keep(self, images: Int64[Tensor, " kept"]) -> "Memory":
        """Leave only these images."""
        hidden = self.places.hidden
        left = Places(self.places.grid, None if hidden is None else hidden[images])
        return Memory(self.prepared.keep(images), self.values[images], left)


class Alignment(nn.Module):
    """Align queries with keys by a score, as far as a window lets them see.

    With several heads each looks for itself, and at its own part of the values.
    """

    def __init__(
        self,
        score: ScoreName,
        window: Window,
        query_dim: int,
        key_dim: int,
        *,
        heads: int = 1,
        places: int,
    ):
        super().__init__()
        self.window, self.heads = window, heads
        make = partial(build_score, score, places=places)
        self.score: Score | MultiHead
        if heads == 1:
            self.score, self.value = make(query_dim, key_dim), None
        else:
            self.score = MultiHead(make, query_dim, key_dim, heads)
            self.value = nn.Linear(key_dim, key_dim)

    def prepare(self, keys: Float[Tensor, "batch key key_dim"], places: Places) -> Memory:
        """Compute all that does not depend on a query."""
        values = keys if self.value is None else self.value(keys)
        prepared = self.score.prepare(keys)
        prepared = prepared._replace(keys=for_products(prepared.keys))
        return Memory(prepared, split_heads(for_products(values), self.heads), places)

    def forward(
        self, query: Float[Tensor, "batch query query_dim"], memory: Memory, word: int
    ) -> Float[Tensor, "batch head query key"]:
        """Weigh the keys for queries that are about to name word number `word`, from 0."""
        scores = self.score.compare(query, memory.prepared)
        view = self.window(query, memory.places, word)
        return view.weigh(scores.unsqueeze(1) if self.heads == 1 else scores)


def for_products(
    factor: Float[Tensor, "batch *head key dim"],
) -> Float[Tensor, "batch *head key dim"]:
    """Convert once what autocast would convert anew for the products of every word."""
    device = factor.device.type
    if factor.dtype != torch.float32 or not torch.is_autocast_enabled(device):
        return factor
    return factor.to(torch.get_autocast_dtype(device))


def build_score(name: ScoreName, query_dim: int, key_dim: int, *, places: int) -> Score:
    """Build a score by name; `places` is the number of keys, to which only location is bound."""
    if name == "location":
        return Location(query_dim, places)
    kinds: dict[str, type[Score]] = {
        "cosine": Cosine,
        "additive": Additive,
        "general": General,
        "dot": Dot,
        "scaled_dot": ScaledDot,
    }
    return kinds[name](query_dim, key_dim)
