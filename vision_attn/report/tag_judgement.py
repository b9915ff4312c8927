"""How well a network tells which labels apply: every label by itself, and all of them together."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vision_attn.report.calibration import Bin, binned, distance
from vision_attn.report.interval import Estimate, average, bootstraps, share

HALF = 0.5
"""The probability above which a label is said to apply, unless thresholds are fitted."""


class TagAnswers(NamedTuple):
    """Hold the logits of every image of a split beside its labels, on the CPU."""

    logits: Float[Tensor, "image output"]
    labels: Float[Tensor, "image output"]
    """1 for those that apply, else 0."""

    @property
    def truth(self) -> Bool[Tensor, "image output"]:
        """Tell which labels apply."""
        return self.labels > 0

    @property
    def probabilities(self) -> Float[Tensor, "image output"]:
        """Give what the network says of every label, each by itself."""
        return self.logits.double().sigmoid()

    @property
    def losses(self) -> Float[Tensor, "image output"]:
        """Give the binary cross-entropy of each label, in nats."""
        logits, labels = self.logits.double(), self.labels.double()
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")

    def said(self, thresholds: Sequence[float] | float = HALF) -> Bool[Tensor, "image output"]:
        """Tell which labels are said to apply: those of a probability above their threshold."""
        return self.probabilities > torch.tensor(thresholds, dtype=torch.float64)


class LabelScores(NamedTuple):
    """Tell how well one label is recognised."""

    name: str
    images: int
    """Those it applies to."""
    precision: Estimate | None
    """Share of right ones among the images it is said of; None if it never is."""
    recall: Estimate | None
    """Share of its images that it is said of; None for a label without images."""
    f1: float | None
    average_precision: Estimate | None
    """Mean precision over the ranks of its images, the surest first; None without images."""
    threshold: float | None
    """The probability that was fitted for it; None if none was."""
    f1_fitted: float | None
    """With that threshold."""
    bins: list[Bin]
    """How often it applies, by the probability that it is said to."""

    @property
    def error(self) -> float:
        """Give the expected calibration error of its probability."""
        return distance(self.bins)


class TagJudgement(NamedTuple):
    """All that is told about the answers to one split; means are over the labels that occur."""

    average_precision: Estimate
    f1: Estimate
    """Mean over labels, all of them counting alike."""
    f1_micro: Estimate
    """Of all pairs of image and label at once."""
    f1_fitted: Estimate | None
    """As `f1`, with fitted thresholds."""
    f1_micro_fitted: Estimate | None
    exact: Estimate
    """Share of the images of which every label is right."""
    loss: Estimate
    """Mean binary cross-entropy over images and labels, in nats."""
    bins: list[Bin]
    """Of all pairs of image and label."""
    labels: list[LabelScores]

    def numbers(self) -> dict[str, float]:
        """Give the headline numbers, each interval beside its number."""
        found: dict[str, float] = {}
        for name in self._fields[:-2]:
            if (number := getattr(self, name)) is not None:
                found |= {
                    name: number.value,
                    f"{name}_low": number.low,
                    f"{name}_high": number.high,
                }
        return {**found, "ece": distance(self.bins), "images": self.loss.images}


def judge_tags(
    answers: TagAnswers,
    names: tuple[str, ...],
    thresholds: Sequence[float] | None = None,
    seed: int = 0,
) -> TagJudgement:
    """Judge answers by their labels; `thresholds` are those fitted elsewhere, one a label.

    Shares have Wilson intervals, all else those of a bootstrap over images, drawn by `seed`. Raises
    ValueError if no label applies to any image.
    """
    truth, images = answers.truth, len(answers.labels)
    if not truth.any():
        raise ValueError(f"at least one label must apply to an image, got none of {images} images")
    ways = [answers.said()] + ([answers.said(thresholds)] if thresholds is not None else [])
    precisions = ranking(answers)

    def by_label(weights: Float[Tensor, " image"]) -> Float[Tensor, "number output"]:
        return torch.stack([precisions(weights), *(f1s(weights, said, truth) for said in ways)])

    whole = by_label(torch.ones(images, dtype=torch.float64))

    def resampled(chosen: Int[Tensor, " image"]) -> Float[Tensor, " number"]:
        weights = torch.bincount(chosen, minlength=images).double()
        each = by_label(weights)
        # Means must be over the same labels: one that a sample happens to lack keeps its score.
        average, *macro = each.where(each.isfinite(), whole).nanmean(1)
        micro = (micro_f1(weights, said, truth) for said in ways)
        pairs = (x for pair in zip(macro, micro, strict=True) for x in pair)
        return torch.cat([torch.stack([average, *pairs]), each[0]])

    found = bootstraps(resampled, images, torch.Generator().manual_seed(seed))
    means, each = found[: 1 + 2 * len(ways)], found[1 + 2 * len(ways) :]
    ranked, macro, micro, *fitted = means
    return TagJudgement(
        average_precision=ranked,
        f1=macro,
        f1_micro=micro,
        f1_fitted=fitted[0] if fitted else None,
        f1_micro_fitted=fitted[1] if fitted else None,
        exact=share(int((ways[0] == truth).all(1).sum()), images),
        loss=average(answers.losses.mean(1), torch.Generator().manual_seed(seed)),
        bins=binned(answers.probabilities.flatten(), truth.flatten()),
        labels=_labels(answers, names, each, thresholds),
    )


def ranking(
    answers: TagAnswers,
) -> Callable[[Float[Tensor, " image"]], Float[Tensor, " output"]]:
    """Give what finds the average precision of each label, images counting by some weights.

    It is nan for a label without images. Images of one score stand at one rank, as in scikit-learn.
    Sorted only once, for a bootstrap asks for it thousands of times.
    """
    scores, order = answers.logits.double().sort(dim=0, descending=True, stable=True)
    truth = answers.truth.gather(0, order)
    last = torch.arange(len(scores) - 1, -1, -1)[:, None]  # counted from the end of the list
    differs = torch.ones_like(truth)
    differs[:-1] = scores[:-1] != scores[1:]
    ends = len(scores) - 1 - last.where(differs, -1).flip(0).cummax(0).values.flip(0)

    def precisions(weights: Float[Tensor, " image"]) -> Float[Tensor, " output"]:
        each = weights[order]
        hits = each * truth
        precision = hits.cumsum(0) / each.cumsum(0).clamp(min=1)
        return (hits * precision.gather(0, ends)).sum(0) / hits.sum(0)

    return precisions


def f1s(
    weights: Float[Tensor, " image"],
    said: Bool[Tensor, "image output"],
    truth: Bool[Tensor, "image output"],
) -> Float[Tensor, " output"]:
    """Give F1 of each label, images counting by some weights; nan for a label without images."""
    hits, named, there = (weights @ x.double() for x in (said & truth, said, truth))
    return (2 * hits / (named + there)).where(there > 0, torch.nan)


def micro_f1(
    weights: Float[Tensor, " image"],
    said: Bool[Tensor, "image output"],
    truth: Bool[Tensor, "image output"],
) -> Float[Tensor, ""]:
    """Give F1 over all pairs of image and label at once."""
    hits, named, there = ((weights @ x.double()).sum() for x in (said & truth, said, truth))
    return 2 * hits / (named + there)


def _labels(
    answers: TagAnswers,
    names: tuple[str, ...],
    ranked: Sequence[Estimate],
    thresholds: Sequence[float] | None,
) -> list[LabelScores]:
    truth, said, chances = answers.truth, answers.said(), answers.probabilities
    fitted = None if thresholds is None else answers.said(thresholds)
    found = []
    for place, name in enumerate(names):
        there, named = int(truth[:, place].sum()), int(said[:, place].sum())
        hits = int((truth & said)[:, place].sum())
        found.append(
            LabelScores(
                name,
                there,
                share(hits, named) if named else None,
                share(hits, there) if there else None,
                _f1(said[:, place], truth[:, place]),
                ranked[place] if there else None,
                None if thresholds is None else thresholds[place],
                None if fitted is None else _f1(fitted[:, place], truth[:, place]),
                binned(chances[:, place], truth[:, place]),
            )
        )
    return found


def _f1(said: Bool[Tensor, " image"], truth: Bool[Tensor, " image"]) -> float | None:
    """Give F1; None for a label that neither applies nor is said to."""
    both = int(said.sum() + truth.sum())
    return 2 * int((said & truth).sum()) / both if both else None


def best_thresholds(answers: TagAnswers) -> list[float]:
    """Find the probability for each label above which F1 is highest; 0.5 for one without images.

    To be fitted on images that neither trained the network nor judge it.
    """
    columns = zip(answers.probabilities.unbind(1), answers.truth.unbind(1), strict=True)
    return [_best_threshold(chances, truth) for chances, truth in columns]


def _best_threshold(chances: Float[Tensor, " image"], truth: Bool[Tensor, " image"]) -> float:
    if not truth.any():
        return HALF
    chances, order = chances.sort(descending=True)
    hits = truth[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(chances) + 1) + truth.sum())
    below = torch.cat([chances[1:], chances.new_zeros(1)])
    best = int(f1.where(below < chances, -1).argmax())  # images of one score go together
    return ((chances[best] + below[best]) / 2).item()
