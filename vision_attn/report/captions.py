"""The figure of a caption: the image, then a panel a word with where it looked."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from matplotlib import patheffects, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from vision_attn.explain.maps import normalise
from vision_attn.report.figures import FAINT, INK, STYLE
from vision_attn.report.overlay import Picture, lit

SIDE, GAP, HEAD, FOOT = 1.25, 0.06, 0.24, 0.3
"""Inches: side of a panel, space between panels, the word above it, the line below all."""
ACROSS = 8
"""Panels in a row."""
SHADE = patheffects.withStroke(linewidth=2.2, foreground="black", alpha=0.7)


class Told(NamedTuple):
    """A caption to draw."""

    words: Sequence[str]
    maps: Float[Tensor, "word height width"]
    """Drawn on one scale for all words."""
    log_prob: float
    places: Float[Tensor, "word mark xy"] | None = None
    """Where hard looks went, in [-1, 1]."""
    centres: Float[Tensor, "word xy"] | None = None
    extents: Float[Tensor, "word scale xy"] | None = None
    """Of glimpses, the finest scale first: drawn as a trail of windows instead of maps."""
    ended: bool = True
    """False where the caption was cut at the longest length."""


def caption_figure(picture: Picture, told: Told) -> Figure:
    """Draw the image and a panel a word: what was looked at before the word was known."""
    count = len(told.words) + 1
    across = min(count, ACROSS)
    height = SIDE * picture.shape[0] / picture.shape[1]
    size = (
        across * (SIDE + GAP) + GAP,
        math.ceil(count / across) * (height + HEAD + GAP) + FOOT,
    )
    scaled = normalise(told.maps.float(), shared=True).cpu().numpy()
    with rc_context(STYLE):
        figure = Figure(figsize=size)
        for number in range(count):
            row, column = divmod(number, across)
            left = GAP + column * (SIDE + GAP)
            top = row * (height + HEAD + GAP)
            box = (
                left / size[0],
                1 - (top + HEAD + height) / size[1],
                SIDE / size[0],
                height / size[1],
            )
            axes: Axes = figure.add_axes(box)
            axes.set_axis_off()
            if not number:
                _panel(axes, picture, "image", FAINT)
            elif told.centres is not None:
                _panel(axes, picture, told.words[number - 1], INK)
                _trail(axes, told, number - 1, picture.shape[:2])
            else:
                _panel(axes, lit(picture, scaled[number - 1]), told.words[number - 1], INK)
                _marks(axes, told, number - 1, picture.shape[:2])
        figure.text(GAP / size[0], 0.1 / size[1], _legend(told), color=FAINT, size=7.5)
    return figure


def _panel(axes: Axes, colours: Picture, title: str, ink: str) -> None:
    axes.imshow(colours.clip(0, 1), interpolation="bicubic")
    axes.set_title(title, color=ink, size=9, pad=2)


def _pixels(places: Tensor, size: tuple[int, int]) -> list[list[float]]:
    """Turn places in [-1, 1] into pixels, the first one's middle at 0."""
    sides = torch.tensor([size[1], size[0]])
    return ((places.cpu().float() + 1) / 2 * sides - 0.5).tolist()


def _marks(axes: Axes, told: Told, word: int, size: tuple[int, int]) -> None:
    """Mark where a hard look went, over the distribution that it came from."""
    if told.places is None:
        return
    for x, y in _pixels(told.places[word], size):
        axes.plot(x, y, marker="o", markersize=5, mfc="none", mec="white", path_effects=[SHADE])


def _trail(axes: Axes, told: Told, word: int, size: tuple[int, int]) -> None:
    """Draw the windows of a glimpse, and the way the eye went until here."""
    assert told.centres is not None
    assert told.extents is not None
    way = _pixels(told.centres[: word + 1], size)
    axes.plot(*zip(*way, strict=True), color="white", linewidth=0.8, path_effects=[SHADE])
    x, y = way[-1]
    for extent in told.extents[word].tolist():
        width, height = extent[0] / 2 * size[1], extent[1] / 2 * size[0]
        corner = (x - width / 2, y - height / 2)
        window = Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=0.9)
        window.set_path_effects([SHADE])
        axes.add_patch(window)
    axes.set_xlim(-0.5, size[1] - 0.5)
    axes.set_ylim(size[0] - 0.5, -0.5)


def _legend(told: Told) -> str:
    looks = "windows of the glimpse" if told.centres is not None else "where it looked"
    circle = "; circle: the region taken" if told.places is not None else ""
    return f"{looks} before each word was said{circle} · log-probability {told.log_prob:.2f}"
