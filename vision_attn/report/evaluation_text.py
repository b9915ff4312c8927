"""The document of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vision_attn.data.splits import SPLITS
from vision_attn.report.calibration import BINS, RANGE, Calibration
from vision_attn.report.figures import title
from vision_attn.report.findings import percent
from vision_attn.report.interval import RESAMPLES, Estimate
from vision_attn.report.judgement import ClassScores, Judgement
from vision_attn.report.markdown import table
from vision_attn.report.measure import Subject

if TYPE_CHECKING:
    from vision_attn.report.evaluation import Evaluation

CLASS_ROWS, CONFUSION_ROWS, MISTAKE_ROWS = 60, 12, 12
"""Rows of the tables; classes.csv, confusion.csv and the page have the rest."""


def evaluation_text(found: Evaluation, subject: Subject, *, command: str, seed: int) -> str:
    """Write report.md; figures and the page lie beside it."""
    judged = found.judgement
    parts = [
        f"# How well {title(subject.name)} classifies",
        f"On {judged.accuracy.images:,} {images_of(found.split, found.of)}{found.words}. Made, "
        f"and made again, by `{command}`. [The page](report.html) shows the worst mistakes with "
        f"maps; the numbers: [numbers.json](numbers.json).",
        table(_headline(judged)),
        "## What is taken for what",
        table(_confusions(judged)) if _pairs(judged) else "Nothing is mistaken.",
        "![The answers to the images of each class](confusion.png)",
        "## Class by class",
        _cut(judged),
        table(_classes(judged)),
        "## How far its probabilities can be believed",
        table(_calibrated(found.calibrations)),
        "![Accuracy over confidence](reliability.png)",
        _advice(found),
        "## The worst mistakes",
        table(_mistakes(found)),
        "## What to keep in mind",
        "\n".join(f"- {note}" for note in _notes(found, seed)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def images_of(split: str, of: str) -> str:
    """Name images by their split and, where they are of other data, by these."""
    return f"{SPLITS[split]} images" + f" of {of}" * bool(of)


def _headline(judged: Judgement) -> list[list[str]]:
    rows = [["", "value", "95 % interval"], ["accuracy", *share(judged.accuracy)]]
    if judged.accuracy_top5 is not None:
        rows.append(["accuracy, five guesses", *share(judged.accuracy_top5)])
    rows.append(["macro F1", *number(judged.macro_f1)])
    rows.append(["cross-entropy, nats", *number(judged.loss)])
    return rows


def share(number: Estimate) -> list[str]:
    """Write a share and its interval, in percent."""
    return [f"**{percent(number.value)}**", f"{100 * number.low:.1f}-{100 * number.high:.1f}"]


def number(number: Estimate) -> list[str]:
    """Write a number and its interval."""
    return [f"**{number.value:.4f}**", f"{number.low:.4f}-{number.high:.4f}"]


def _pairs(judged: Judgement) -> list[tuple[int, int, int]]:
    """List (images, class, answer) of all wrong answers, the most frequent first."""
    confusion = judged.confusion - judged.confusion.diag().diag()
    places = confusion.nonzero().tolist()
    pairs = [(int(confusion[label, answer]), label, answer) for label, answer in places]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))


def _confusions(judged: Judgement) -> list[list[str]]:
    names = [one.name for one in judged.classes]
    rows = [["class", "taken for", "images", "of the class"]]
    for count, label, answer in _pairs(judged)[:CONFUSION_ROWS]:
        of_class = percent(count / judged.classes[label].images)
        rows.append([plain(names[label]), plain(names[answer]), f"{count:,}", of_class])
    return rows


def _cut(judged: Judgement) -> str:
    if len(judged.classes) <= CLASS_ROWS:
        return ""
    return f"The {CLASS_ROWS} classes of the lowest F1; [classes.csv](classes.csv) has all."


def _classes(judged: Judgement) -> list[list[str]]:
    shown: Sequence[ClassScores] = judged.classes
    if len(shown) > CLASS_ROWS:
        shown = sorted(shown, key=lambda one: one.f1)[:CLASS_ROWS]
    rows = [["class", "images", "recognised", "95 % interval", "precision", "F1", "mistaken for"]]
    for one in shown:
        found = ["-", "-"] if one.recall is None else share(one.recall)
        precision = "-" if one.precision is None else percent(one.precision)
        wrong = (
            f"{plain(one.mistaken_for[0])} ({one.mistaken_for[1]:,})" if one.mistaken_for else ""
        )
        rows.append([plain(one.name), f"{one.images:,}", *found, precision, f"{one.f1:.3f}", wrong])
    return rows


def _calibrated(found: Sequence[Calibration]) -> list[list[str]]:
    rows = [["", "calibration error", "cross-entropy", "Brier score"]]
    for one in found:
        known = "as trained" if one.temperature == 1 else f"temperature {one.temperature:.3f}"
        numbers = [f"{x.value:.4f} ({x.low:.4f}-{x.high:.4f})" for x in (one.loss, one.brier)]
        rows.append([known, percent(one.error), *numbers])
    return rows


def _advice(evaluation: Evaluation) -> str:
    found = evaluation.calibrations
    if len(found) < 2 and evaluation.of:
        return (
            "No temperature is known: once the run is evaluated on its own test split, which fits "
            "one on the validation images, it is judged here, too."
        )
    if len(found) < 2:
        return (
            "No temperature is fitted: the images that would set it are those that judge here. "
            "The test split gets one from the validation images."
        )
    temperature = found[1].temperature
    if min(abs(temperature - end) / end for end in RANGE) < 0.02:
        return (
            f"The fitted temperature, {temperature:.3g}, is at the end of what is tried "
            f"({RANGE[0]:g} to {RANGE[1]:g}): the validation images are too easy to set it."
        )
    lean = "too sure" if temperature > 1 else "not sure enough"
    return (
        f"The network is {lean}: on the validation images its cross-entropy is lowest with logits "
        f"divided by {temperature:.3f}. The second row judges that number on the images of this "
        f"report, which had no part in it. The answers stay the same."
    )


def _mistakes(found: Evaluation) -> list[list[str]]:
    rows = [["image", "class", "answer", "probability", "of the class"]]
    for one in found.mistakes[:MISTAKE_ROWS]:
        chances = [percent(one.probability), f"{100 * one.of_label:.2g} %"]
        rows.append([f"`{one.path}`", plain(one.label), plain(one.answer), *chances])
    return rows


def _notes(found: Evaluation, seed: int) -> Iterator[str]:
    yield (
        f"Intervals are 95 %: Wilson for shares, bootstrap over images ({RESAMPLES:,} resamples, "
        f"seed {seed}) for the rest. They cover the choice of images, not that of the training "
        f"seed."
    )
    yield (
        "Macro F1 is the mean over the classes that occur, all of them counting alike, so rare "
        "ones weigh as much as frequent ones."
    )
    yield (
        f"Calibration error is the mean distance of confidence and accuracy over {BINS} equally "
        f"wide bins (Guo 2017). It has no interval: resampling images raises it."
    )
    if found.split == "valid" and not found.of:
        yield (
            "The validation images chose the best weights of the run, so these numbers flatter it; "
            "the test split does not."
        )
    if all(one.right for one in found.mistakes):
        yield "No image is mistaken; the page shows the least sure answers instead."


def plain(name: str) -> str:
    """Keep a name from ending its cell of a table."""
    return name.replace("|", "\\|")
