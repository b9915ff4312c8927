"""One network that tells several labels judged in full: documents, tables, figures, mistakes."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_attn.engine.run import replace
from vision_attn.report.answers import answer
from vision_attn.report.evaluation import MISTAKES, Held, save
from vision_attn.report.interval import Estimate
from vision_attn.report.measure import Subject
from vision_attn.report.mistakes import explain_mistakes
from vision_attn.report.tag_figures import believed_figure, labels_figure
from vision_attn.report.tag_judgement import (
    LabelScores,
    TagAnswers,
    TagJudgement,
    best_thresholds,
    judge_tags,
)
from vision_attn.report.tag_mistakes import TagMistake, worst_tags
from vision_attn.report.tag_page import tag_page
from vision_attn.report.tag_text import tag_text

THRESHOLDS = "thresholds.json"
"""The probability of each label, by its name, above which it applies."""


@dataclass(frozen=True, kw_only=True)
class TagEvaluation:
    """All that was found."""

    split: str
    words: str
    """What is to be said of the images after their number."""
    of: str
    """The other data that they are of; empty for the run's own."""
    answers: TagAnswers
    judgement: TagJudgement
    mistakes: list[TagMistake]


def tag_evaluation(
    subject: Subject, held: Held, out: Path, *, command: str, most: int = MISTAKES, seed: int = 0
) -> dict[str, float]:
    """Judge a network on held-out images, write all of it to `out`, and give the numbers.

    Thresholds are fitted on `held.fitting` alone. Else as `evaluation`.
    """
    names = subject.run.spec.names
    answers = _asked(subject, held.batches, held.split)
    thresholds = _thresholds(subject, held)
    found = TagEvaluation(
        split=held.split,
        words=held.words,
        of=held.of,
        answers=answers,
        judgement=judge_tags(answers, names, thresholds, seed),
        mistakes=worst_tags(answers, names, held.source, held.split, most),
    )
    explain_mistakes(subject, found.mistakes, held.source, out / "mistakes")
    _write_tables(found.judgement, out)
    if held.fitting is not None and thresholds is not None:
        told = dict(zip(names, thresholds, strict=True))
        replace(out / THRESHOLDS, json.dumps(told, indent=2) + "\n")
    save(labels_figure(found.judgement.labels), out / "labels.png")
    save(believed_figure(found.judgement), out / "reliability.png")
    tag_page(found, subject, out)
    replace(out / "report.md", tag_text(found, subject, command=command, seed=seed))
    return found.judgement.numbers()


def _asked(subject: Subject, batches: Any, what: str) -> TagAnswers:
    return TagAnswers(*answer(subject.model, batches, subject.device, what))


def _thresholds(subject: Subject, held: Held) -> list[float] | None:
    """Fit the thresholds, or read those that were fitted earlier, if there are any."""
    if held.fitting is not None:
        return best_thresholds(_asked(subject, held.fitting, "valid"))
    if held.fitted is not None and (held.fitted / THRESHOLDS).exists():
        told = json.loads((held.fitted / THRESHOLDS).read_text())
        return [told[name] for name in subject.run.spec.names]
    return None


def _write_tables(found: TagJudgement, out: Path) -> None:
    replace(out / "numbers.json", json.dumps(found.numbers(), indent=2) + "\n")
    shares = ("precision", "recall", "average_precision")
    with (out / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        intervals = [f"{name}{end}" for name in shares for end in ("", "_low", "_high")]
        writer.writerow(
            ["label", "images", *intervals, "f1", "calibration_error", "threshold", "f1_fitted"]
        )
        writer.writerows(_row(one, [getattr(one, name) for name in shares]) for one in found.labels)


def _row(one: LabelScores, shares: Sequence[Estimate | None]) -> list[Any]:
    """Give a line of labels.csv; what is undefined is empty."""
    intervals = [x for number in shares for x in (["", "", ""] if number is None else number[:3])]
    rest = [one.f1, one.error, one.threshold, one.f1_fitted]
    return [one.name, one.images, *intervals, *("" if x is None else x for x in rest)]
