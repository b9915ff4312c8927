"""What a study found: accuracy over the share of the data, as table, figure, CSV and JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import t as student

from vision_attn.engine.atomic import whole
from vision_attn.engine.run import replace
from vision_attn.report.figures import title
from vision_attn.report.markdown import table
from vision_attn.report.study_figure import Line, Point, study_figure


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one training of a study found."""

    network: str
    start: str
    """scratch or fine_tuned."""
    share: float
    """Of the training images, (0, 1]."""
    seed: int
    images: int
    """That trained."""
    accuracy: float
    """On the test split, [0, 1]."""
    test_images: int
    steps: int
    batch_size: int
    seconds: float
    """Of training and evaluations, over all calls."""
    run: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The trainings that differ in nothing but their seed."""

    network: str
    start: str
    share: float
    images: int
    n: int
    seeds: list[int]
    accuracy: float
    """Mean over the seeds."""
    interval: tuple[float, float] | None
    """95 %, of the mean over seeds; None for one seed."""

    @property
    def name(self) -> str:
        """Write network and start as the table and the figure do."""
        return f"{title(self.network)}, {title(STARTS[self.start])}"


STARTS = {"scratch": "from scratch", "fine_tuned": "fine-tuned"}


def study_report(found: Sequence[Outcome], planned: int, folder: str, command: str) -> Path:
    """Write report.md, report.json, trainings.csv and figure.png; give the report."""
    rows, place = cells(found), Path(folder)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Outcome)])
    writer.writeheader()
    writer.writerows(asdict(outcome) for outcome in found)
    replace(place / "trainings.csv", buffer.getvalue())
    entries = {
        "command": command,
        "trainings": len(found),
        "planned": planned,
        "cells": [asdict(cell) for cell in rows],
    }
    replace(place / "report.json", json.dumps(entries, indent=2) + "\n")
    with whole(place / "figure.png") as file:
        study_figure(_lines(rows)).savefig(file, format="png", dpi=160)
    report = place / "report.md"
    replace(report, _text(found, rows, planned, command))
    return report


def cells(found: Sequence[Outcome]) -> list[Cell]:
    """Join the seeds of each network, start and share."""
    groups: dict[tuple[str, str, float], list[Outcome]] = {}
    for outcome in sorted(found, key=lambda x: (x.share, x.seed)):
        groups.setdefault((outcome.network, outcome.start, outcome.share), []).append(outcome)
    return [
        Cell(
            network=network,
            start=start,
            share=share,
            images=group[0].images,
            n=len(group),
            seeds=[x.seed for x in group],
            accuracy=fmean(x.accuracy for x in group),
            interval=interval([x.accuracy for x in group]),
        )
        for (network, start, share), group in groups.items()
    ]


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Give the 95 % interval of a mean of few values; None for a single one.

    Student 1908, Biometrika 6.
    """
    if len(values) < 2:
        return None
    half = student.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return fmean(values) - half, fmean(values) + half


def _lines(rows: Sequence[Cell]) -> list[Line]:
    networks = list(dict.fromkeys(cell.network for cell in rows))
    return [
        Line(
            name,
            networks.index(group[0].network),
            group[0].start == "fine_tuned",
            [Point(x.share, x.images, x.accuracy, x.interval) for x in group],
        )
        for name in sorted({cell.name for cell in rows})
        if (group := [cell for cell in rows if cell.name == name])
    ]


def _text(found: Sequence[Outcome], rows: Sequence[Cell], planned: int, command: str) -> str:
    """Write the report."""
    first = found[0]
    names = sorted({cell.name for cell in rows})
    body = [["training images", *names]]
    for share in sorted({cell.share for cell in rows}):
        row = [cell for cell in rows if cell.share == share]
        best = max(cell.accuracy for cell in row)
        by_name = {cell.name: _cell(cell, best) for cell in row}
        images = f"{100 * share:g} % ({row[0].images:,})"
        body.append([images, *(by_name.get(name, "") for name in names)])
    seeds = sorted({outcome.seed for outcome in found})
    return (
        f"# Accuracy over the share of the data\n\n"
        f"{len(found)} of {planned} trainings, each of {first.steps:,} steps of "
        f"{first.batch_size} images with the same augmentation, "
        f"{sum(x.seconds for x in found) / 60:,.0f} minutes in all.\n\n"
        f"![Test accuracy over the share of the training images](figure.png)\n\n"
        f"{table(body)}\n\n"
        f"Accuracy in % on {first.test_images:,} test images, measured once at the end of each "
        f"training: the mean over seeds (of {', '.join(map(str, seeds))}) and, in brackets, its "
        f"95 % interval by Student's t. The best mean of a row is bold. A seed chooses the images "
        f"of a share, the initial weights and the order; of one seed, smaller shares lie inside "
        f"larger ones. No weights are chosen on validation images: the last ones count.\n\n"
        f"Made by `{command}`; every training is in trainings.csv.\n"
    )


def _cell(cell: Cell, best: float) -> str:
    mean = f"{100 * cell.accuracy:.1f}"
    mean = f"**{mean}**" if cell.accuracy == best else mean
    if cell.interval is None:
        return f"{mean} (one seed)"
    low, high = (100 * end for end in cell.interval)
    return f"{mean} ({low:.1f} to {high:.1f}, n={cell.n})"
