"""One trained network judged in full: report.md, report.html, tables, figures and mistakes."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vision_attn.data.batch import Source
from vision_attn.engine.atomic import whole
from vision_attn.engine.run import replace
from vision_attn.report.answers import answer
from vision_attn.report.calibration import Calibration, best_temperature, calibration
from vision_attn.report.evaluation_figures import confusion_figure, reliability_figure
from vision_attn.report.evaluation_page import evaluation_page
from vision_attn.report.evaluation_text import evaluation_text
from vision_attn.report.judgement import ClassScores, Judgement, judge
from vision_attn.report.measure import Subject
from vision_attn.report.mistakes import Mistake, explain_mistakes, worst

MISTAKES = 48
"""Images on the page."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Held-out images that judge a network."""

    split: str
    source: Source[Any]
    words: str
    """What is to be said after their number: whether they had a part in training."""
    batches: Iterable[Any]
    """All of `source`, in order."""
    fitting: Iterable[Any] | None
    """Images that set the temperature, or thresholds; None where there are no others."""
    of: str = ""
    """The other data that they are of; empty for the run's own."""
    fitted: Path | None = None
    """The report on the run's own test split, whose fit is taken instead."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that was found."""

    split: str
    words: str
    """What is to be said of the images after their number."""
    of: str
    """The other data that they are of; empty for the run's own."""
    judgement: Judgement
    calibrations: list[Calibration]
    """As trained and, if it was fitted, with a temperature."""
    mistakes: list[Mistake]

    def numbers(self) -> dict[str, float]:
        """Give the headline numbers, those of the calibration with them."""
        plain, *scaled = self.calibrations
        found = self.judgement.numbers() | {"ece": plain.error, "brier": plain.brier.value}
        for one in scaled:
            found |= {
                "temperature": one.temperature,
                "ece_calibrated": one.error,
                "brier_calibrated": one.brier.value,
                "loss_calibrated": one.loss.value,
            }
        return found


def evaluation(
    subject: Subject, held: Held, out: Path, *, command: str, most: int = MISTAKES, seed: int = 0
) -> dict[str, float]:
    """Judge a network on held-out images, write all of it to `out`, and give the numbers.

    The temperature is fitted on `held.fitting` alone. Maps of the `most` worst mistakes go to
    out/mistakes, in the place of earlier ones; `seed` draws the bootstrap samples; `command` makes
    the report again.
    """
    names = subject.run.spec.names
    answers = answer(subject.model, held.batches, subject.device, held.split)
    calibrations = [calibration(answers, seed=seed)]
    if (temperature := _temperature(subject, held)) is not None:
        calibrations.append(calibration(answers, temperature, seed))
    found = Evaluation(
        split=held.split,
        words=held.words,
        of=held.of,
        judgement=judge(answers, names, seed),
        calibrations=calibrations,
        mistakes=worst(answers, names, held.source, held.split, most),
    )
    explain_mistakes(subject, found.mistakes, held.source, out / "mistakes")
    _write_tables(found, names, out)
    save(confusion_figure(found.judgement.confusion, names), out / "confusion.png")
    save(reliability_figure(calibrations), out / "reliability.png")
    evaluation_page(found, subject, out)
    replace(out / "report.md", evaluation_text(found, subject, command=command, seed=seed))
    return found.numbers()


def _temperature(subject: Subject, held: Held) -> float | None:
    """Fit the temperature, or read the one that was fitted earlier, if there is any."""
    if held.fitting is not None:
        return best_temperature(answer(subject.model, held.fitting, subject.device, "valid"))
    if held.fitted is not None:
        return json.loads((held.fitted / "numbers.json").read_text()).get("temperature")
    return None


def _write_tables(found: Evaluation, names: tuple[str, ...], out: Path) -> None:
    replace(out / "numbers.json", json.dumps(found.numbers(), indent=2) + "\n")
    with (out / "classes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["class", "images", "recall", "recall_low", "recall_high", "precision", "f1"]
        )
        writer.writerows(_row(one) for one in found.judgement.classes)
    with (out / "confusion.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *names])
        rows = found.judgement.confusion.tolist()
        writer.writerows([name, *row] for name, row in zip(names, rows, strict=True))


def _row(one: ClassScores) -> list[Any]:
    """Give a line of classes.csv; what is undefined is empty."""
    recall = ["", "", ""] if one.recall is None else list(one.recall[:3])
    return [one.name, one.images, *recall, "" if one.precision is None else one.precision, one.f1]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with whole(path) as file:
        figure.savefig(file, format="png", dpi=160)
