"""The document of an evaluation of several labels an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vision_attn.report.calibration import BINS, distance
from vision_attn.report.evaluation_text import images_of, number, plain, share
from vision_attn.report.figures import title
from vision_attn.report.findings import percent
from vision_attn.report.interval import RESAMPLES, Estimate
from vision_attn.report.markdown import table
from vision_attn.report.measure import Subject
from vision_attn.report.tag_judgement import HALF, LabelScores, TagJudgement

if TYPE_CHECKING:
    from vision_attn.report.tag_evaluation import TagEvaluation

LABELS, MISTAKE_ROWS = 60, 12
"""Rows of the tables; labels.csv and the page have the rest."""


def tag_text(found: TagEvaluation, subject: Subject, *, command: str, seed: int) -> str:
    """Write report.md; figures and the page lie beside it."""
    judged = found.judgement
    parts = [
        f"# How well {title(subject.name)} tells which labels apply",
        f"On {judged.loss.images:,} {images_of(found.split, found.of)}{found.words}. Made, and "
        f"made again, by `{command}`. [The page](report.html) shows the worst mistakes with maps; "
        f"the numbers: [numbers.json](numbers.json).",
        table(_headline(judged)),
        "## Label by label",
        _cut(judged),
        table(_labels(judged)),
        "![Average precision of each label](labels.png)",
        _thresholds(found),
        "## How far its probabilities can be believed",
        f"Over all pairs of image and label, what is said with a probability and what applies are "
        f"{percent(distance(judged.bins))} apart; the table has it label by label.",
        "![Share that applies over probability](reliability.png)",
        "## The worst mistakes",
        table(_mistakes(found)),
        "## What to keep in mind",
        "\n".join(f"- {note}" for note in _notes(found, seed)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(judged: TagJudgement) -> list[list[str]]:
    rows = [
        ["", "value", "95 % interval"],
        ["mean average precision", *number(judged.average_precision)],
        ["macro F1", *number(judged.f1)],
        ["micro F1", *number(judged.f1_micro)],
    ]
    if judged.f1_fitted and judged.f1_micro_fitted:
        rows.append(["macro F1, fitted thresholds", *number(judged.f1_fitted)])
        rows.append(["micro F1, fitted thresholds", *number(judged.f1_micro_fitted)])
    rows.append(["every label right", *share(judged.exact)])
    rows.append(["binary cross-entropy, nats", *number(judged.loss)])
    return rows


def _cut(judged: TagJudgement) -> str:
    if len(judged.labels) <= LABELS:
        return ""
    return f"The {LABELS} labels of the lowest average precision; [labels.csv](labels.csv) has all."


def _labels(judged: TagJudgement) -> list[list[str]]:
    shown = judged.labels
    if len(shown) > LABELS:
        scored = [(one.average_precision, one) for one in shown if one.average_precision]
        shown = [one for _, one in sorted(scored, key=lambda pair: pair[0].value)[:LABELS]]
    fitted = judged.f1_fitted is not None
    heads = ["label", "images", "precision", "recall", "F1", "average precision"]
    heads += ["calibration error", *(["threshold", "F1 with it"] if fitted else [])]
    return [heads, *(_label(one) for one in shown)]


def _label(one: LabelScores) -> list[str]:
    ranked = one.average_precision
    cells = [
        plain(one.name),
        f"{one.images:,}",
        _interval(one.precision),
        _interval(one.recall),
        "-" if one.f1 is None else f"{one.f1:.3f}",
        "-" if ranked is None else f"{ranked.value:.3f} ({ranked.low:.3f}-{ranked.high:.3f})",
        percent(one.error),
    ]
    if one.threshold is not None:
        cells += [f"{one.threshold:.3g}", "-" if one.f1_fitted is None else f"{one.f1_fitted:.3f}"]
    return cells


def _interval(number: Estimate | None) -> str:
    if number is None:
        return "-"
    return f"{percent(number.value)} ({100 * number.low:.1f}-{100 * number.high:.1f})"


def _thresholds(found: TagEvaluation) -> str:
    if found.judgement.f1_fitted is None:
        return ""
    where = "" if found.of else ", [thresholds.json](thresholds.json),"
    return (
        f"The thresholds{where} are those of the highest F1 on the validation images of the run. "
        f"They are judged here on the images of this report, which had no part in them; a label "
        f"with few validation images gets a rough one."
    )


def _mistakes(found: TagEvaluation) -> list[list[str]]:
    rows = [["image", "label", "what is wrong", "probability", "labels of the image"]]
    for one in found.mistakes[:MISTAKE_ROWS]:
        chance = f"{100 * one.probability:.2g} %"
        borne = ", ".join(map(plain, one.true)) or "none"
        rows.append([f"`{one.path}`", plain(one.label), one.words, chance, borne])
    return rows


def _notes(found: TagEvaluation, seed: int) -> Iterator[str]:
    yield (
        f"A label is said to apply if its probability is above {HALF:g}, unless a fitted threshold "
        f"is named. Average precision does not depend on thresholds: it is the precision, averaged "
        f"over the ranks of the label's images, and about the share of these images by chance."
    )
    yield (
        f"Intervals are 95 %: Wilson for shares, bootstrap over images ({RESAMPLES:,} resamples, "
        f"seed {seed}) for the rest. They cover the choice of images, not that of the training "
        f"seed."
    )
    yield (
        "Mean average precision and macro F1 are means over the labels that occur, all of them "
        "counting alike; micro F1 counts every pair of image and label alike, so frequent labels "
        "weigh more."
    )
    if missing := [one.name for one in found.judgement.labels if not one.images]:
        yield f"Of these labels there is no image: {', '.join(map(plain, missing[:LABELS]))}."
    yield (
        f"Calibration error is the mean distance of probability and share over {BINS} equally wide "
        f"bins. It is small for any rare label that is hardly ever said to apply."
    )
    if found.split == "valid" and not found.of:
        yield (
            "The validation images chose the best weights of the run, so these numbers flatter it; "
            "the test split does not."
        )
    if all(one.applies == one.said for one in found.mistakes):
        yield "No label is mistaken; the page shows the least sure answers instead."
