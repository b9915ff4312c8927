"""Several trained networks side by side: report.md, report.json and figures in one folder."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from vision_attn.explain.methods import METHODS
from vision_attn.report.cost import at_rest
from vision_attn.report.figures import Bar, learning_curves, score_figure
from vision_attn.report.grid import Panel, Rows, grid
from vision_attn.report.markdown import markdown
from vision_attn.report.measure import (
    Evidence,
    Numbers,
    Subject,
    check_alike,
    conditions,
    curve,
    measure,
)

DPI = 160
"""Dots an inch of the figures: sharp on dense screens, and files stay below 1.5 MB."""


def compare(
    subjects: Sequence[Subject],
    evidence: Sequence[Evidence],
    folder: Path | str,
    *,
    command: str,
    since: float | None = None,
    rows: int = 5,
    seed: int = 0,
) -> Path:
    """Measure networks side by side; write report.md, report.json and figures; give the report.

    `evidence` is the same images prepared for each network. `command` makes the report again;
    `since` is `time.perf_counter()` when it began. `rows` images are drawn; `seed` draws the
    bootstrap samples. Raises ValueError if the subjects are not alike.
    """
    folder = Path(folder)
    check_alike(subjects)
    numbers = measure(subjects, evidence, seed=seed)
    known = conditions(subjects, evidence, seed=seed)
    figures = {
        "maps": picture_grid(subjects, evidence, rows),
        "scores": score_figure(_bars(numbers)),
    }
    curves = [curve(subject) for subject in subjects]
    if any(found.accuracy for found in curves):
        figures["learning_curves"] = learning_curves(curves)
    folder.mkdir(parents=True, exist_ok=True)
    _save(figures, folder)
    seconds = None if since is None else time.perf_counter() - since
    entries = {"seconds": seconds, "command": command, "settings": known}
    entries["models"] = {name: measured.to_dict() for name, measured in numbers.items()}
    (folder / "report.json").write_text(json.dumps(entries, indent=2, allow_nan=False) + "\n")
    report = folder / "report.md"
    report.write_text(markdown(numbers, known, list(figures), command=command, seconds=seconds))
    return report


def picture_grid(subjects: Sequence[Subject], evidence: Sequence[Evidence], rows: int) -> Figure:
    """Draw the maps of all subjects on a few images, chosen by `telling`."""
    pairs = list(zip(subjects, evidence, strict=True))
    outputs = {subject.name: _probabilities(subject, own) for subject, own in pairs}
    chosen = telling(outputs, evidence[0].labels, rows)
    shown = [_rows(subject, own, chosen) for subject, own in pairs]
    panels = [
        panel
        for subject, own in zip(subjects, shown, strict=True)
        for panel in _panels(subject, own, alone=own.spec != shown[0].spec)
    ]
    return grid(shown[0], panels, {name: output[chosen] for name, output in outputs.items()})


def _rows(subject: Subject, evidence: Evidence, chosen: list[int]) -> Rows:
    masks = None if evidence.masks is None else evidence.masks[chosen]
    return Rows(evidence.images[chosen], subject.run.spec, evidence.labels[chosen], masks)


def _panels(subject: Subject, rows: Rows, *, alone: bool) -> list[Panel]:
    """Draw the maps of a subject; one that sees images in a view `alone` has them beside."""
    own = rows if alone else None
    maps = {x: _maps(subject, x, rows.images, rows.labels) for x in subject.methods}
    panels = [Panel(subject.name, method, found, own=own) for method, found in maps.items()]
    return [Panel(subject.name, "image", None, own=own), *panels] if alone else panels


def telling(
    outputs: Mapping[str, Float[Tensor, "batch output"]], labels: Int[Tensor, " batch"], rows: int
) -> list[int]:
    """Choose images to show: the first that all get right, then the first that some get wrong.

    Wrong ones make up at most two fifths, so that failures are seen but do not seem the rule.
    """
    right = torch.stack([output.argmax(-1) == labels for output in outputs.values()]).all(0)
    wrong = (~right).nonzero()[: 2 * rows // 5, 0].tolist()
    return [*right.nonzero()[: rows - len(wrong), 0].tolist(), *wrong]


def _probabilities(subject: Subject, evidence: Evidence) -> Float[Tensor, "batch output"]:
    with at_rest(subject.model):
        parts = evidence.images.split(64)
        return torch.cat([subject.model(x.to(subject.device)).softmax(-1).cpu() for x in parts])


def _maps(subject: Subject, method: str, images: Tensor, labels: Any) -> Tensor:
    model: Any = subject.model
    return METHODS[method](model, images.to(subject.device), labels.to(subject.device))


def _bars(numbers: Mapping[str, Numbers]) -> list[Bar]:
    return [
        Bar(name, method, scores)
        for name, measured in numbers.items()
        for method, scores in measured.maps.items()
    ]


def _save(figures: Mapping[str, Figure], folder: Path) -> None:
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI, pil_kwargs={"optimize": True})
