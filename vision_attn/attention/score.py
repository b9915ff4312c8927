"""How well a query matches each key: the alignment scores of the literature, one module each.

What a score computes of the keys alone is computed once (`prepare`) and serves every query; called
as a whole, a score prepares and compares in one go.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vision_attn.attention.multihead import split_heads

Keys: TypeAlias = Float[Tensor, "batch key key_dim"]
Queries: TypeAlias = Float[Tensor, "batch query query_dim"]
Scores: TypeAlias = Float[Tensor, "batch query key"]


class Prepared(NamedTuple):
    """What a score computes of the keys alone."""

    keys: Float[Tensor, "batch *head key prepared_dim"]
    powers: bool = False
    """Whether these are exponentials of what is compared."""

    def keep(self, images: Int64[Tensor, " kept"]) -> "Prepared":
        """Leave only these images."""
        return self._replace(keys=self.keys[images])


class Score(nn.Module, ABC):
    """Match every query with every key; a softmax over the keys makes weights of the scores."""

    def prepare(self, keys: Keys) -> Prepared:
        """Compute what depends on the keys alone."""
        return Prepared(keys)

    @abstractmethod
    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        """Score queries against keys that were prepared."""

    def forward(self, query: Queries, keys: Keys) -> Scores:
        return self.compare(query, self.prepare(keys))


class Dot(Score):
    """Take the inner product of query and key, which must be of one width.

    Luong 2015, equation 8, dot (arXiv:1508.04025).
    """

    def __init__(self, query_dim: int, key_dim: int):
        super().__init__()
        _check_same(type(self).__name__, query_dim, key_dim)

    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        return query @ prepared.keys.mT


class ScaledDot(Dot):
    """Take the inner product over the root of the width.

    Vaswani 2017, equation 1 (arXiv:1706.03762).
    """

    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        return super().compare(query * query.shape[-1] ** -0.5, prepared)


class Cosine(Score):
    """Take the cosine of the angle between query and key, times a learned sharpness.

    Without it a softmax over many values in [-1, 1] would be almost flat. Graves 2014, equations 5
    and 6 (arXiv:1410.5401), whose key strength is emitted anew for every query.
    """

    def __init__(self, query_dim: int, key_dim: int, sharpness: float = 10.0):
        super().__init__()
        _check_same("Cosine", query_dim, key_dim)
        self.log_sharpness = nn.Parameter(torch.tensor(sharpness).log())

    def prepare(self, keys: Keys) -> Prepared:
        return Prepared(F.normalize(keys, dim=-1))

    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        return F.normalize(query, dim=-1) * self.log_sharpness.exp() @ prepared.keys.mT


class General(Score):
    """Take the inner product after a learned linear map of the key: s · W h.

    It is computed as W's · h: captions ask fewer queries of an image than it has keys, and keys
    that stay as they are serve as values, too. Luong 2015, equation 8, general (arXiv:1508.04025).
    """

    def __init__(self, query_dim: int, key_dim: int):
        super().__init__()
        self.key = nn.Linear(key_dim, query_dim, bias=False)

    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        matrix = _matrix(self.key, prepared.keys.shape[-1], like=query)
        return query @ matrix @ prepared.keys.mT


class Additive(Score):
    """Let a network with one hidden layer compare: v · tanh(W s + U h + b).

    Bahdanau 2015, appendix A.1.2 (arXiv:1409.0473).
    """

    def __init__(self, query_dim: int, key_dim: int, dim: int | None = None):
        super().__init__()
        dim = query_dim if dim is None else dim
        self.query = nn.Linear(query_dim, dim, bias=False)
        self.key = nn.Linear(key_dim, dim)
        self.compared = nn.Linear(dim, 1, bias=False)

    def prepare(self, keys: Keys) -> Prepared:
        doubled = 2 * self.key(keys)
        return Prepared(doubled.exp_(), True) if _can_multiply(doubled) else Prepared(doubled)

    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        # tanh x is 2 sigmoid 2x - 1: without AVX-512 torch may compute that several times as fast,
        # with it both are alike, and what the sigmoids lack to 1 can be had from products.
        doubled = 2 * self.query(query)
        weights = _matrix(self.compared, doubled.shape[-1], like=doubled)[0]
        if _can_pair(doubled, prepared):
            return weights.sum() - 2 * _rests(doubled, prepared.keys, weights)
        keys = prepared.keys.log() if prepared.powers else prepared.keys
        halves = self.compared((doubled.unsqueeze(2) + keys.unsqueeze(1)).sigmoid_())
        return 2 * halves.squeeze(-1) - weights.sum()


FAR = 60.0
"""Up to here exponentials of keys serve every query: where that of a query is infinite or 0, also
in float32, the sum of the two is beyond 27, and the sigmoid of that is 0 or 1."""


def _is_followed() -> bool:
    """Tell whether a gradient, or a program for any number of images, is made of what runs."""
    return torch.is_grad_enabled() or torch.jit.is_tracing() or bool(torch.compiler.is_compiling())


def _can_multiply(exponents: Tensor) -> bool:
    """Tell whether exponentials of keys are as good as these exponents, and faster."""
    if _is_followed():
        return False
    wide = exponents.dtype in (torch.float32, torch.float64) and exponents.device.type == "cpu"
    if not wide or not exponents.numel():
        return False
    low, high = exponents.aminmax()
    return bool(low > -FAR) and bool(high < FAR)


def _can_pair(query: Queries, prepared: Prepared) -> bool:
    """Tell whether exponentials of these queries may multiply those that were prepared."""
    if not prepared.powers or _is_followed():
        return False
    return len(query) == len(prepared.keys) and query.dtype == prepared.keys.dtype


def _rests(
    query: Queries, powers: Float[Tensor, "batch key dim"], weights: Float[Tensor, " dim"]
) -> Scores:
    """Sum what sigmoids of all sums of query and key lack to 1, each with its weight.

    That is 1 / (1 + exp q exp k), so exponentials of queries and of keys do for all pairs, and each
    pair costs a product, a division and its share of the sum. One image after the other in one
    place, since a cache holds its pairs and not those of a batch.
    """
    one, scores = weights.new_ones(()), query.new_empty(*query.shape[:2], powers.shape[1])
    pairs = query.new_empty(query.shape[1], *powers.shape[1:])
    for own, keys, score in zip(query.exp().unsqueeze(2), powers, scores.flatten(1), strict=True):
        torch.addcmul(one, own, keys, out=pairs).reciprocal_()
        torch.mv(pairs.flatten(0, 1), weights, out=score)
    return scores


def _matrix(layer: nn.Module, width: int, like: Tensor) -> Float[Tensor, "output input"]:
    """Give what a linear layer multiplies by, a change of low rank beside it included."""
    if isinstance(layer, nn.Linear):
        return layer.weight
    one_hot = torch.eye(width, dtype=like.dtype, device=like.device)
    weights: Tensor = layer(one_hot).mT
    return weights


class Location(Score):
    """Score places by the query alone, whatever is there: W s.

    Luong 2015, equation 8, location (arXiv:1508.04025).
    """

    def __init__(self, query_dim: int, places: int):
        super().__init__()
        self.places = places
        self.place = nn.Linear(query_dim, places, bias=False)

    def prepare(self, keys: Keys) -> Prepared:
        """Hand the keys on; raises ValueError unless there are as many as the score has places."""
        if keys.shape[1] != self.places:
            raise ValueError(
                f"the location score is bound to a number of places, got {keys.shape[1]} keys for "
                f"{self.places} places; keep the image size of training, or take "
                f"another score"
            )
        return Prepared(keys)

    def compare(self, query: Queries, prepared: Prepared) -> Scores:
        return self.place(query)


class MultiHead(nn.Module):
    """Let several heads score at once, each with its own projections of query and key.

    The parameters of `score` itself, built for the width of a head, are common to all heads.

    Vaswani 2017, section 3.2.2, over any score (arXiv:1706.03762).
    """

    def __init__(
        self, score: Callable[[int, int], Score], query_dim: int, key_dim: int, heads: int
    ):
        super().__init__()
        if query_dim % heads:
            raise ValueError(
                f"heads must divide the query's width, got query_dim={query_dim} and heads={heads}"
            )
        self.heads = heads
        self.query = nn.Linear(query_dim, query_dim)
        self.key = nn.Linear(key_dim, query_dim)
        self.score = score(query_dim // heads, query_dim // heads)

    def prepare(self, keys: Keys) -> Prepared:
        """Compute what depends on the keys alone, for every head."""
        folded = split_heads(self.key(keys), self.heads).flatten(0, 1)
        prepared = self.score.prepare(folded)
        return prepared._replace(keys=prepared.keys.unflatten(0, (-1, self.heads)))

    def compare(self, query: Queries, prepared: Prepared) -> Float[Tensor, "batch head query key"]:
        """Score queries against keys that were prepared, by every head."""
        folded = split_heads(self.query(query), self.heads).flatten(0, 1)
        keys = prepared._replace(keys=prepared.keys.flatten(0, 1))
        return self.score.compare(folded, keys).unflatten(0, (-1, self.heads))

    def forward(self, query: Queries, keys: Keys) -> Float[Tensor, "batch head query key"]:
        return self.compare(query, self.prepare(keys))


def _check_same(name: str, query_dim: int, key_dim: int) -> None:
    if query_dim != key_dim:
        raise ValueError(
            f"{name} compares vectors of one width, got query_dim={query_dim} and "
            f"key_dim={key_dim}; take General or Additive, or MultiHead, which projects"
        )
