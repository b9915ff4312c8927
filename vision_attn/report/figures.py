"""Figures of a report, drawn on Agg canvases of their own: pyplot and its global state stay out."""

from collections.abc import Sequence
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
LOWER = frozenset({"deletion", "positive_perturbation", "max_sensitivity", "randomisation"})
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
    "score_cam": "Score-CAM",
    "score_cam_top32": "Score-CAM (top 32)",
    "ablation_cam": "Ablation-CAM",
    "full_grad": "FullGrad",
    "energy": "energy in mask",
    "mask_iou": "mask IoU",
    "deletion": "deletion AUC",
    "insertion": "insertion AUC",
    "road": "ROAD",
    "sensitivity_n": "sensitivity-n",
    "max_sensitivity": "max-sensitivity",
    "randomisation": "likeness after randomisation",
    "attention_gradient": "attention x gradient",
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
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.1), layout="constrained")
        by_seconds, by_steps = figure.subplots(1, 2, sharey=True)
        key: list[tuple[str, str, str]] = []
        for index, curve in enumerate(curves):
            if not curve.accuracy:
                continue
            name, ink = title(curve.name), colour(index)
            _line(by_seconds, curve.seconds, curve, ink)
            _line(by_steps, curve.steps, curve, ink)
            ends = f"{curve.seconds[-1]:,.0f} s", f"{100 * curve.accuracy[-1]:.1f} %"
            key.append((f"{name}, {ends[0]}", f"{name}, {ends[1]}", ink))
        for row, (seconds, accuracy, ink) in enumerate(reversed(key)):
            _name(by_seconds, seconds, row, ink)
            _name(by_steps, accuracy, row, ink)
        by_seconds.set_ylabel("validation accuracy, %")
        _frame(by_seconds, "seconds of training")
        _frame(by_steps, "steps (optimizer updates)")
    return figure


def _line(ax: Axes, across: Sequence[float], curve: Curve, ink: str) -> None:
    up = [100 * share for share in curve.accuracy]
    ax.plot(across, up, color=ink, linewidth=1.8, solid_capstyle="round")
    ax.plot(across[-1:], up[-1:], "o", color=ink, markersize=4)


def _name(ax: Axes, words: str, row: int, ink: str) -> None:
    """Write a line of the key in the lower right corner, where rising curves leave room."""
    ax.annotate(
        words,
        (0.97, 0.06),
        xycoords="axes fraction",
        xytext=(0, 13 * row),
        textcoords="offset points",
        ha="right",
        color=ink,
        weight="bold",
        path_effects=[patheffects.withStroke(linewidth=3, foreground="white")],
    )


def _frame(ax: Axes, label: str) -> None:
    ax.set_xlabel(label)
    ax.set_xlim(left=0)
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
