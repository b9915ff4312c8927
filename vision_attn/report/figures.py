"""Figures of a report, drawn on Agg canvases of their own: pyplot and its global state stay out."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib import patheffects, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vision_attn.explain.methods import BASELINES
from vision_attn.report.interval import Estimate

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""One a model, told apart by colour-blind readers too (Okabe and Ito 2008)."""
RIGHT, WRONG, INK, FAINT = "#1a7f37", "#cf222e", "#1f2328", "#656d76"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "figure.facecolor": "white",
}
LOWER = frozenset({"deletion"})
"""Scores of which less is better."""
TITLES = {
    "vit": "ViT",
    "resnet": "ResNet",
    "cam": "CAM",
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "xgrad_cam": "XGrad-CAM",
    "eigen_cam": "EigenCAM",
    "smoothgrad": "SmoothGrad",
    "rise": "RISE",
    "energy": "energy in mask",
    "deletion": "deletion AUC",
}


def title(name: str) -> str:
    """Write a name the way the literature does."""
    return TITLES.get(name, name.replace("_", " "))


class Curve(NamedTuple):
    """Validation accuracy of one run while it trained."""

    name: str
    steps: Sequence[float]
    seconds: Sequence[float]
    """Of training, without the time that evaluations and checkpoints took."""
    accuracy: Sequence[float]
    """Shares in [0, 1]."""


def colour(index: int) -> str:
    """Give the colour of the model at this place, the same in all figures."""
    return COLOURS[index % len(COLOURS)]


def learning_curves(curves: Sequence[Curve]) -> Figure:
    """Draw accuracy against seconds and against steps, every line named.

    A run without evaluations keeps its colour but has no line; at least one must have some.
    """
    inks = {x.name: colour(index) for index, x in enumerate(curves)}
    drawn = [curve for curve in curves if curve.accuracy]
    starts = _apart([100 * curve.accuracy[0] for curve in drawn], _gap(drawn))
    ends = _apart([100 * curve.accuracy[-1] for curve in drawn], _gap(drawn))
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.1), layout="constrained")
        by_seconds, by_steps = figure.subplots(1, 2, sharey=True)
        for curve, start, end in zip(drawn, starts, ends, strict=True):
            name, ink = title(curve.name), inks[curve.name]
            _line(by_seconds, curve.seconds, curve, ink)
            _line(by_steps, curve.steps, curve, ink)
            _name(by_seconds, f"{name}, {curve.seconds[-1]:,.0f} s", curve.seconds[0], start, ink)
            words = f"{name} {100 * curve.accuracy[-1]:.1f} %"
            _name(by_steps, words, curve.steps[-1], end, ink)
        by_seconds.set_ylabel("validation accuracy, %")
        _frame(by_seconds, "seconds of training", 1.05 * max(x.seconds[-1] for x in drawn))
        _frame(by_steps, "steps (optimizer updates)", 1.42 * max(x.steps[-1] for x in drawn))
    return figure


def _gap(curves: Sequence[Curve]) -> float:
    """Give the height of a line of text, in percent of accuracy."""
    return (100 - 100 * min(min(curve.accuracy) for curve in curves)) / 12


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """Move heights down, as little as needed, until neighbours are at least so far apart."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: -heights[index])
    for above, below in pairwise(order):
        moved[below] = min(moved[below], moved[above] - least)
    return moved


def _line(ax: Axes, across: Sequence[float], curve: Curve, ink: str) -> None:
    up = [100 * share for share in curve.accuracy]
    ax.plot(across, up, color=ink, linewidth=1.8, solid_capstyle="round")
    ax.plot(across[-1:], up[-1:], "o", color=ink, markersize=4)


def _name(ax: Axes, words: str, across: float, height: float, ink: str) -> None:
    ax.annotate(
        words,
        (across, height),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=ink,
        weight="bold",
        path_effects=[patheffects.withStroke(linewidth=3, foreground="white")],
    )


def _frame(ax: Axes, label: str, right: float) -> None:
    ax.set_xlabel(label)
    ax.set_xlim(0, right)
    ax.set_ylim(top=101)
    ax.grid(axis="y", color="#d0d7de", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(length=0)


class Bar(NamedTuple):
    """One row of the score figure: a method of a model, or a baseline."""

    model: str
    method: str
    scores: dict[str, Estimate]


def score_figure(bars: Sequence[Bar]) -> Figure:
    """Draw every score as a dot with its interval, a column a score and a row a method."""
    names = list(dict.fromkeys(name for bar in bars for name in bar.scores))
    models = list(dict.fromkeys(bar.model for bar in bars))
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 0.75 + 0.27 * len(bars)), layout="constrained")
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            for row, bar in enumerate(bars):
                _dot(ax, row, bar.scores[name], colour(models.index(bar.model)), bar.method)
            ax.set_title(f"{title(name)} {'↓' if name in LOWER else '↑'}", size=9, color=INK)
            ax.set_xlim(-0.02, 1.02)
            ax.grid(axis="x", color="#d0d7de", linewidth=0.6)
            ax.tick_params(length=0)
        axes[0].set_yticks(
            range(len(bars)), [f"{title(bar.model)} · {title(bar.method)}" for bar in bars]
        )
        axes[0].set_ylim(len(bars) - 0.5, -0.5)
    return figure


def _dot(ax: Axes, row: int, number: Estimate, ink: str, method: str) -> None:
    face = "white" if method in BASELINES else ink
    ax.plot([number.low, number.high], [row, row], color=ink, linewidth=1.6)
    ax.plot([number.value], [row], "o", color=ink, markerfacecolor=face, markersize=5.5)
