"""Figures of an evaluation: what is taken for what, and how far confidence can be believed."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vision_attn.report.calibration import BINS, Bin, Calibration
from vision_attn.report.figures import COLOURS, FAINT, INK, STYLE

NAMED, WRITTEN = 40, 20
"""Most classes that are named along the axes, and most whose counts are written into the cells."""
SURER, LESS = COLOURS[5], COLOURS[4]


def confusion_figure(confusion: Int[Tensor, "label output"], names: Sequence[str]) -> Figure:
    """Draw the answers to the images of each class as shares of that class, a row a class."""
    counts = confusion.double().numpy()
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    side = min(max(3.4, 1.6 + 0.36 * len(names)), 9)
    with rc_context(STYLE):
        figure = Figure(figsize=(side + 0.6, side), layout="constrained")
        ax = figure.subplots()
        drawn = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ax.set_xlabel("answer")
        ax.set_ylabel("class")
        ax.tick_params(length=0)
        if len(names) <= NAMED:
            ax.set_xticks(range(len(names)), names, rotation=90)
            ax.set_yticks(range(len(names)), names)
        if len(names) <= WRITTEN:
            for row, column in zip(*np.nonzero(counts), strict=True):
                ink = "white" if shares[row, column] > 0.6 else INK
                words = f"{int(counts[row, column]):,}"
                ax.text(column, row, words, ha="center", va="center", size=7, color=ink)
        figure.colorbar(drawn, ax=ax, shrink=0.8, label="share of the class").outline.set_visible(
            False
        )
    return figure


def reliability_figure(found: Sequence[Calibration]) -> Figure:
    """Draw accuracy over confidence, with the number of images below, a column a temperature."""
    columns = {}
    for one in found:
        known = "as trained" if one.temperature == 1 else f"temperature {one.temperature:.2f}"
        columns[f"{known}: calibration error {100 * one.error:.1f} %"] = one.bins
    return diagrams(columns, ("confidence", "accuracy", "images"))


def diagrams(columns: Mapping[str, Sequence[Bin]], words: tuple[str, str, str]) -> Figure:
    """Draw a reliability diagram a column, under its title, with the counts of its bins below.

    `words` are for what was said, what was found, and what is counted.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 3.6 * len(columns), 4.3), layout="constrained")
        axes = figure.subplots(2, len(columns), sharex=True, height_ratios=(4, 1), squeeze=False)
        for (upper, lower), (title, found) in zip(axes.T, columns.items(), strict=True):
            _diagram(upper, found)
            upper.set_title(title, size=9, color=INK)
            lower.bar(_middles(), [x.images for x in found], 1 / BINS, color=FAINT, ec="white")
            lower.set_xlabel(words[0])
        axes[0, 0].set_ylabel(words[1])
        axes[1, 0].set_ylabel(words[2])
    return figure


def _diagram(ax: Axes, found: Sequence[Bin]) -> None:
    filled = [(x, one) for x, one in zip(_middles(), found, strict=True) if one.images]
    middles = [x for x, _ in filled]
    both = [min(one.confidence, one.accuracy) for _, one in filled]
    ax.bar(middles, both, 1 / BINS, color=COLOURS[0], ec="white")
    for ink, words, sign in (
        (SURER, "more sure than right", 1),
        (LESS, "more right than sure", -1),
    ):
        gaps = [max(sign * (one.confidence - one.accuracy), 0) for _, one in filled]
        ax.bar(middles, gaps, 1 / BINS, both, color=ink, ec="white", label=words)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.legend(frameon=False, loc="upper left")


def _middles() -> list[float]:
    return [(place + 0.5) / BINS for place in range(BINS)]
