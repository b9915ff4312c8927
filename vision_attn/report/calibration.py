"""Whether a network is as often right as it is sure: bins, calibration error, temperature."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from vision_attn.report.answers import Answers
from vision_attn.report.interval import Estimate, average

BINS = 15
"""Equally wide bins of confidence, as in Guo 2017."""
RANGE = (0.05, 20.0)
"""Temperatures that are tried; a fit at an end means that the validation split is too easy."""


class Bin(NamedTuple):
    """Hold the images that were answered about equally surely."""

    images: int
    confidence: float
    """Mean probability of the answers; 0 in an empty bin."""
    accuracy: float
    """Share of right answers; 0 in an empty bin."""


class Calibration(NamedTuple):
    """Tell how well probabilities can be believed, at one temperature."""

    temperature: float
    error: float
    """Expected calibration error: mean distance of confidence and accuracy over the bins."""
    loss: Estimate
    """Mean cross-entropy, in nats."""
    brier: Estimate
    """Mean squared distance of the probabilities from the truth, [0, 2] (Brier 1950)."""
    bins: list[Bin]


def calibration(answers: Answers, temperature: float = 1.0, seed: int = 0) -> Calibration:
    """Judge the probabilities of answers divided by a temperature; `seed` draws the bootstrap."""
    cooled = answers.cooled(temperature)
    probabilities = cooled.probabilities
    truth = torch.nn.functional.one_hot(cooled.labels, probabilities.shape[1])
    squares = (probabilities - truth).square().sum(-1)
    outputs = probabilities.shape[1]
    error = multiclass_calibration_error(probabilities, cooled.labels, outputs, n_bins=BINS)
    return Calibration(
        temperature,
        error.item(),
        average(cooled.losses, torch.Generator().manual_seed(seed)),
        average(squares, torch.Generator().manual_seed(seed)),
        bins(cooled),
    )


def bins(answers: Answers, count: int = BINS) -> list[Bin]:
    """Sort answers into equally wide bins of confidence."""
    return binned(answers.probabilities.amax(-1), answers.right, count)


def binned(
    confidence: Float[Tensor, " answer"], right: Bool[Tensor, " answer"], count: int = BINS
) -> list[Bin]:
    """Sort what was said, with some confidence, into equally wide bins of it."""
    place = (confidence * count).long().clamp(max=count - 1)
    images = torch.bincount(place, minlength=count)
    sums = (
        torch.bincount(place, weights=values.double(), minlength=count) / images.clamp(min=1)
        for values in (confidence, right)
    )
    rows = zip(images.tolist(), *(values.tolist() for values in sums), strict=True)
    return [Bin(*row) for row in rows]


def distance(found: Sequence[Bin]) -> float:
    """Average the distance of confidence and accuracy over the answers in some bins."""
    total = sum(one.images for one in found)
    return sum(one.images * abs(one.confidence - one.accuracy) for one in found) / total


def best_temperature(answers: Answers) -> float:
    """Find the temperature of the lowest mean cross-entropy, within `RANGE`.

    To be fitted on images that neither trained the network nor judge it. Guo 2017, section 4.2
    (arXiv:1706.04599).
    """

    def loss(log_temperature: float) -> float:
        return answers.cooled(math.exp(log_temperature)).losses.mean().item()

    bounds = [math.log(end) for end in RANGE]
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)
