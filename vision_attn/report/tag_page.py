"""The page of an evaluation of several labels: curves to click on, mistakes with their maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vision_attn.report.evaluation_text import images_of
from vision_attn.report.figures import title
from vision_attn.report.interval import Estimate
from vision_attn.report.measure import Subject
from vision_attn.report.packing import Store, write_page
from vision_attn.report.page import contents, places
from vision_attn.report.tag_judgement import LabelScores, TagJudgement

if TYPE_CHECKING:
    from vision_attn.report.tag_evaluation import TagEvaluation

POINTS = 101
"""Points of a curve on the page, at most."""


def tag_page(found: TagEvaluation, subject: Subject, folder: Path) -> Path:
    """Write report.html beside the export of the mistakes; it needs no other file."""
    store = Store()
    content = contents(folder / "mistakes", store, len(found.mistakes))
    judged, answers = found.judgement, found.answers
    columns = zip(answers.probabilities.unbind(1), answers.truth.unbind(1), strict=True)
    curves = [curve(chances, truth) for chances, truth in columns]
    content["evaluation"] = {
        "judges": images_of(found.split, found.of),
        "images": judged.loss.images,
        "numbers": _numbers(judged),
        "bins": [list(each) for each in judged.bins],
        "labels": [_label(one) for one in judged.labels],
        "curves": [store.add(points.astype("<f4").tobytes()) for points in curves],
        "mistakes": [one._asdict() | {"words": one.words} for one in found.mistakes],
    }
    heading = f"How well {title(subject.name)} tells which labels apply"
    words = places(heading, content, store)
    return write_page(folder / "report.html", "tag_page", words, scripts=["page", "judged"])


def curve(
    chances: Float[Tensor, " image"], truth: Bool[Tensor, " image"]
) -> Float[np.ndarray, "point three"]:
    """Give recall, precision and the lowest probability that is taken, from few images to all.

    Points are those of some of the images of the label, evenly chosen; none without such images.
    """
    chances, order = chances.sort(descending=True)
    hits = truth[order].cumsum(0)
    last = torch.ones_like(truth)
    last[:-1] = chances[:-1] != chances[1:]  # images of one score are taken together
    ends = last.nonzero().flatten()
    ends = ends[hits[ends].diff(prepend=hits.new_zeros(1)) > 0]
    chosen = ends[
        np.unique(np.linspace(0, max(len(ends) - 1, 0), POINTS).round().astype(int))[: len(ends)]
    ]
    found = torch.stack([hits[chosen] / max(int(truth.sum()), 1), hits[chosen] / (chosen + 1)])
    return torch.cat([found.double(), chances[chosen][None]]).T.contiguous().numpy()


def _numbers(judged: TagJudgement) -> list[list[Any]]:
    """Give name, value and interval of what the page has at its top."""
    shown: dict[str, Estimate | None] = {
        "mean average precision": judged.average_precision,
        "macro F1": judged.f1,
        "micro F1": judged.f1_micro,
        "macro F1, fitted thresholds": judged.f1_fitted,
        "every label right": judged.exact,
    }
    return [[name, *number[:3]] for name, number in shown.items() if number is not None]


def _label(one: LabelScores) -> dict[str, Any]:
    ranked = one.average_precision
    return {
        "name": one.name,
        "images": one.images,
        "precision": None if one.precision is None else one.precision.value,
        "recall": None if one.recall is None else one.recall.value,
        "F1": one.f1,
        "ranked": None if ranked is None else ranked.value,
        "interval": None if ranked is None else [ranked.low, ranked.high],
        "error": one.error,
        "threshold": one.threshold,
        "fitted": one.f1_fitted,
        "bins": [list(each) for each in one.bins],
    }
