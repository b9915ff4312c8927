"""Networks that tell several labels an image, side by side: how well, and label by label."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.engine.run import Run, flat, replace
from vision_attn.report.evaluation_text import plain
from vision_attn.report.figures import title
from vision_attn.report.markdown import table
from vision_attn.report.measure import train_seconds

NUMBERS = {  # number: heading
    "average_precision": "mean average precision",
    "f1": "macro F1",
    "f1_micro": "micro F1",
    "f1_fitted": "macro F1, fitted thresholds",
    "f1_micro_fitted": "micro F1, fitted thresholds",
    "exact": "every label right",
    "ece": "calibration error",
    "loss": "cross-entropy, nats",
}
LOWER = {"ece", "loss"}
"""Numbers of which the lowest is the best."""
FREE = ("data.augment.", "data.workers", "data.memory", "data.check")
"""Fields of the data that may differ: what is judged is the same."""
LABELS = 60
"""Rows of the table by label: those on which the runs differ most."""


class Tagger(NamedTuple):
    """A run, and the folder of its evaluation."""

    run: Run
    evaluation: Path

    def numbers(self) -> dict[str, float]:
        """Read the headline numbers."""
        return json.loads((self.evaluation / "numbers.json").read_text())

    def precisions(self) -> dict[str, float]:
        """Read the average precision of each label that occurs."""
        with (self.evaluation / "labels.csv").open(newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["average_precision"]]
        return {line["label"]: float(line["average_precision"]) for line in lines}


def compare_taggers(taggers: Sequence[Tagger], folder: Path, *, split: str, command: str) -> Path:
    """Write report.md and report.json, and give the report.

    Raises ValueError if the runs' labels or data are not the same.
    """
    check_alike(taggers)
    numbers = [one.numbers() for one in taggers]
    names = [one.run.folder.resolve().name for one in taggers]
    folder.mkdir(parents=True, exist_ok=True)
    content = {"command": command, "split": split}
    entries = {"runs": dict(zip(names, numbers, strict=True))}
    replace(folder / "report.json", json.dumps(content | entries, indent=2) + "\n")
    parts = [
        "# Which labels apply, told by several networks",
        f"On {numbers[0]['images']:,.0f} images of the {split} split; in brackets 95 % intervals. "
        f"Made, and made again, by `{command}`. The numbers: [report.json](report.json).",
        table(_rows(taggers, names, numbers)),
        "## Average precision of each label",
        _by_label(taggers, names),
    ]
    report = folder / "report.md"
    replace(report, "\n\n".join(parts) + "\n")
    return report


def check_alike(taggers: Sequence[Tagger]) -> None:
    """Raise ValueError unless all runs were judged by the same images and labels."""
    names = [one.run.folder.resolve().name for one in taggers]
    if len(set(names)) < len(names):
        raise ValueError(
            f"a comparison needs runs of different names, got {names}; rename a folder"
        )
    first, *others = (_deciding(one.run) for one in taggers)
    for one, other in zip(taggers[1:], others, strict=True):
        differing = sorted(k for k in {*first, *other} if first.get(k) != other.get(k))
        if differing:
            raise ValueError(
                f"networks that tell labels are compared on the same data, but "
                f"{taggers[0].run.folder} and {one.run.folder} differ in {', '.join(differing)}; "
                f"vision-attn evaluate judges each alone"
            )


def _deciding(run: Run) -> dict[str, Any]:
    entries = {k: v for k, v in flat(run.recipe) if k.startswith("data.")}
    kept = {k: v for k, v in entries.items() if not k.startswith(FREE)}
    return {"labels": run.spec.names, "image_size": run.spec.image_size, **kept}


def _rows(
    taggers: Sequence[Tagger], names: Sequence[str], numbers: Sequence[dict[str, float]]
) -> list[list[str]]:
    rows = [["", *(title(name) for name in names)]]
    for key, heading in NUMBERS.items():
        values = [found.get(key) for found in numbers]
        if all(value is None for value in values):
            continue
        there = [value for value in values if value is not None]
        best = min(there) if key in LOWER else max(there)
        rows.append([heading, *(_cell(found, key, best) for found in numbers)])
    rows.append(["training s", *(f"{train_seconds(one.run) or 0:,.0f}" for one in taggers)])
    return rows


def _cell(found: dict[str, float], key: str, best: float) -> str:
    if key not in found:
        return "-"
    value = f"**{found[key]:.4f}**" if found[key] == best else f"{found[key]:.4f}"
    if f"{key}_low" not in found:
        return value
    return f"{value} ({found[f'{key}_low']:.4f}-{found[f'{key}_high']:.4f})"


def _by_label(taggers: Sequence[Tagger], names: Sequence[str]) -> str:
    found = [one.precisions() for one in taggers]
    shown = [name for name in taggers[0].run.spec.names if any(name in one for one in found)]
    words = ""
    if len(shown) > LABELS:
        spread = {name: _spread([one[name] for one in found if name in one]) for name in shown}
        shown = sorted(shown, key=spread.__getitem__, reverse=True)[:LABELS]
        words = (
            f"The {LABELS} labels on which they differ most; labels.csv of each evaluation has all."
        )
    rows = [["label", *(title(name) for name in names)]]
    rows += [
        [plain(name), *(f"{one[name]:.3f}" if name in one else "-" for one in found)]
        for name in shown
    ]
    return "\n\n".join(part for part in (words, table(rows)) if part)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)
