"""From weights to what is seen: the mean of all values, or one value that a draw decides on."""

from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Weights: TypeAlias = Float[Tensor, "*batch query key"]
"""Not negative; they need not sum to 1 (a local window's do not)."""
Values: TypeAlias = Float[Tensor, "*batch key dim"]

TINY = 1e-20
"""Smallest probability whose logarithm is taken; sampled ones are far larger."""


class Look(NamedTuple):
    """What one look saw, and where."""

    context: Float[Tensor, "*batch query dim"]
    place: Int64[Tensor, "*batch query"]
    """Number of the key that was looked at."""
    log_prob: Float[Tensor, "*batch query"]
    """Of the place, under the weights."""


def soft(weights: Weights, values: Values) -> Float[Tensor, "*batch query dim"]:
    """Average the values: the expected value of a hard look, and differentiable in the weights.

    Bahdanau 2015, equation 5 (arXiv:1409.0473); Xu 2015, equation 13 (arXiv:1502.03044).
    """
    return weights @ values


def hard(
    weights: Weights,
    values: Values,
    generator: torch.Generator | None = None,
    expected: Bool[Tensor, "*batch"] | None = None,
) -> Look:
    """Draw one place in proportion to the weights and take its value.

    Weights learn through `log_prob` alone, except those of entries that are `expected`: these see
    the expected value instead, as `soft` does, and their `log_prob` is 0. Without a generator the
    draw is from torch's global one, as in training. Xu 2015, equations 8 and 10 to 12
    (arXiv:1502.03044).
    """
    log_weights = probabilities(weights).clamp_min(TINY).log()
    with torch.no_grad():  # the largest of perturbed logarithms is a draw: Gumbel-max
        place = (log_weights + gumbel_noise(weights, generator)).argmax(-1)
    log_prob = log_weights.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    shares = _only(place, weights)
    if expected is not None:
        log_prob = torch.where(expected.unsqueeze(-1), 0.0, log_prob)
        shares = torch.where(expected[..., None, None], weights, shares)
    return Look(shares @ values, place, log_prob)


def peak(weights: Weights, values: Values) -> Look:
    """Take the value of the place with the largest weight: a hard look without a draw."""
    place = weights.argmax(-1)
    shares = probabilities(weights).gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return Look(_taken(values, place), place, shares.clamp_min(TINY).log())


def straight_through(
    weights: Weights, values: Values, temperature: float, generator: torch.Generator | None = None
) -> Look:
    """Draw one place, and let its gradient be that of a softmax at a temperature.

    Jang 2017, straight-through Gumbel-softmax, section 2.2 (arXiv:1611.01144).
    """
    log_weights = probabilities(weights).clamp_min(TINY).log()
    noisy = log_weights + gumbel_noise(weights, generator)
    relaxed = (noisy / temperature).softmax(-1)
    place = relaxed.argmax(-1)
    chosen = _only(place, relaxed)
    log_prob = log_weights.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return Look(((chosen - relaxed).detach() + relaxed) @ values, place, log_prob)


def probabilities(weights: Weights) -> Weights:
    """Make the weights of a query sum to 1."""
    return weights / weights.sum(-1, keepdim=True).clamp_min(TINY)


def entropy(weights: Weights) -> Float[Tensor, "*batch query"]:
    """Measure how spread the weights are, in nats: 0 on one key, log n on n alike."""
    shares = probabilities(weights)
    return -(shares * shares.clamp_min(TINY).log()).sum(-1)


def gumbel_noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw standard Gumbel noise: minus the logarithm of an exponential variable."""
    return -torch.empty_like(like).exponential_(generator=generator).clamp_min(TINY).log()


def _only(place: Int64[Tensor, "*batch query"], like: Weights) -> Weights:
    """Put all weight on each query's place."""
    return torch.zeros_like(like).scatter(-1, place.unsqueeze(-1), 1.0)


def _taken(values: Values, place: Int64[Tensor, "*batch query"]) -> Tensor:
    """Pick the value at each query's place."""
    index = place.unsqueeze(-1).expand(*place.shape, values.shape[-1])
    return values.gather(-2, index)
