"""The figure of a study: test accuracy over the share of the training images."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

from vision_attn.report.figures import STYLE, colour


class Point(NamedTuple):
    """Mean accuracy at one share."""

    share: float
    images: int
    accuracy: float
    interval: tuple[float, float] | None


class Line(NamedTuple):
    """One network from one kind of start."""

    name: str
    network: int
    """Place of its colour."""
    fine_tuned: bool
    points: Sequence[Point]


def study_figure(lines: Sequence[Line]) -> Figure:
    """Draw a line a network and start, whole where it was fine-tuned and dashed from scratch.

    Bars are intervals. After Dosovitskiy 2021, figures 3 and 4 (arXiv:2010.11929).
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        ax = figure.subplots()
        for place, line in enumerate(lines):
            aside = 1.03 ** (place - (len(lines) - 1) / 2)  # so that bars do not hide each other
            up = [100 * point.accuracy for point in line.points]
            below, above = zip(*(_arms(point) for point in line.points), strict=True)
            ax.errorbar(
                [100 * point.share * aside for point in line.points],
                up,
                (below, above),
                label=line.name,
                color=colour(line.network),
                linestyle="-" if line.fine_tuned else "--",
                marker="o",
                markerfacecolor=colour(line.network) if line.fine_tuned else "white",
                markersize=5,
                linewidth=1.8,
                elinewidth=1.1,
                capsize=2.5,
            )
        images = {point.share: point.images for line in lines for point in line.points}
        shares = sorted(images)
        ax.set_xscale("log")
        ax.set_xticks([100 * x for x in shares], [f"{100 * x:g} %\n{images[x]:,}" for x in shares])
        ax.minorticks_off()
        ax.set_xlabel("training images: share and number")
        ax.set_ylabel("test accuracy, %")
        ax.grid(axis="y", color="#d0d7de", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(length=0)
        ax.legend(frameon=False, loc="lower right")
    return figure


def _arms(point: Point) -> tuple[float, float]:
    """Give the lengths of an error bar below and above, in percent; none without an interval."""
    low, high = point.interval or (point.accuracy, point.accuracy)
    return 100 * (point.accuracy - low), 100 * (high - point.accuracy)
