"""How sure a number is: 95 % intervals of shares and of means."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Z = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""
RESAMPLES = 2000
"""Bootstrap samples of an interval."""


class Estimate(NamedTuple):
    """A number measured on `images` images, and its 95 % interval."""

    value: float
    low: float
    high: float
    images: int

    def overlaps(self, other: "Estimate") -> bool:
        """Say whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


def share(hits: int, images: int) -> Estimate:
    """Estimate a share of successes, with an interval that is right near 0 and 1 too.

    Wilson 1927, Journal of the American Statistical Association 22.
    """
    if not 0 <= hits <= images or images < 1:
        raise ValueError(f"hits must be in 0..images and images at least 1, got {hits} of {images}")
    mean, weight = hits / images, 1 / (1 + Z**2 / images)
    centre = weight * (mean + Z**2 / (2 * images))
    half = weight * Z * (mean * (1 - mean) / images + Z**2 / (4 * images**2)) ** 0.5
    return Estimate(mean, max(centre - half, 0.0), min(centre + half, 1.0), images)


def average(
    values: Float[Tensor, " image"], generator: torch.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Estimate a mean, with the percentile interval of its bootstrap distribution.

    Raises ValueError on no values and on values that are not finite. Efron 1979, The Annals of
    Statistics 7.
    """
    if not len(values) or not values.isfinite().all():
        raise ValueError(f"a mean needs at least one value, all of them finite, got {values}")
    values = values.detach().double().cpu()
    return bootstrap(lambda chosen: values[chosen].mean(), len(values), generator, resamples)


def bootstrap(
    statistic: Callable[[Int[Tensor, " image"]], Tensor],
    images: int,
    generator: torch.Generator,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Estimate any number computed from a choice of images, with its percentile interval.

    `statistic` is given the indices of the images that count, some of them several times.
    """
    return bootstraps(lambda chosen: statistic(chosen)[None], images, generator, resamples)[0]


def bootstraps(
    statistic: Callable[[Int[Tensor, " image"]], Float[Tensor, " number"]],
    images: int,
    generator: torch.Generator,
    resamples: int = RESAMPLES,
) -> list[Estimate]:
    """Estimate several numbers at once, as `bootstrap` does one.

    A choice of images that leaves a number undefined (nan) does not count for its interval.
    """
    values = statistic(torch.arange(images))
    found = torch.empty(resamples, len(values), dtype=torch.float64)
    for sample in range(resamples):  # one resample at a time: the memory stays that of the values
        found[sample] = statistic(torch.randint(images, (images,), generator=generator))
    ends = found.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    rows = zip(values.tolist(), *ends.tolist(), strict=True)
    return [Estimate(value, low, high, images) for value, low, high in rows]


def estimate(values: Float[Tensor, " image"], generator: torch.Generator) -> Estimate:
    """Estimate a share if every value is 0 or 1, else a mean."""
    if len(values) and ((values == 0) | (values == 1)).all():
        return share(int(values.sum()), len(values))
    return average(values, generator)
