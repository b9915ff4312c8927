"""The grid of images x methods x models: where each network looks, side by side."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps, patheffects, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from torch import Tensor

from vision_attn.explain.contract import Images, Maps, Targets
from vision_attn.explain.maps import is_flat
from vision_attn.explain.methods import SIGNED
from vision_attn.report.figures import FAINT, INK, RIGHT, STYLE, WRONG, colour, title
from vision_attn.report.overlay import (
    UNSIGNED,
    Picture,
    Pictures,
    overlay,
    pictures,
    rims,
    stretched,
)
from vision_attn.spec import Spec

CELL, GAP, BREAK = 1.5, 0.06, 0.22
"""Inches: side of a picture, space between two of one model, space between two models."""
HEAD, CAPTION, FOOT, MARGIN = 0.52, 0.25, 0.36, 0.08
"""Inches: names above, answers below each row, the legend at the bottom, the rim."""
PLAIN = FontProperties(family=STYLE["font.family"])
BOLD = FontProperties(family=STYLE["font.family"], weight="bold")
WIDEST = 10
"""Panels side by side; where there are more, every model begins a line of its own."""


class Rows(NamedTuple):
    """What is common to all columns of the grid, an image a row."""

    images: Images
    spec: Spec
    labels: Targets | None = None
    """None where it is not known what is right."""
    masks: Bool[Tensor, "batch height width"] | None = None
    """Outlined where given: the object that should be looked at."""


class Panel(NamedTuple):
    """A column of the grid: maps of one model by one method."""

    model: str
    method: str
    maps: Maps | None
    """None for the images alone."""
    part: str = ""
    """Tells columns of one method apart."""
    own: Rows | None = None
    """The same images as this model sees them, where that is another view than the grid's."""


Group: TypeAlias = tuple[str, list[Panel]]
"""A model and its columns."""


class _Sheet:
    """A page measured in inches from its left and from where the present line starts."""

    def __init__(self, width: float, height: float):
        self.width, self.height, self.start = width, height, 0.0
        self.figure = Figure(figsize=(width, height))

    def picture(self, left: float, top: float, colours: Picture, cell: tuple[float, float]) -> Axes:
        height, width = cell
        bottom = (self.height - self.start - top - height) / self.height
        ax = self.figure.add_axes(
            (left / self.width, bottom, width / self.width, height / self.height)
        )
        ax.imshow(colours.clip(0, 1), interpolation="bicubic")
        ax.set_axis_off()
        return ax

    def text(self, left: float, top: float, words: str, **style: object) -> None:
        style = {"ha": "center", "va": "center"} | style
        up = 1 - (self.start + top) / self.height
        self.figure.text(left / self.width, up, words, **style)  # type: ignore[arg-type]

    def rule(self, left: float, right: float, top: float, colour: str) -> None:
        across, up = (left / self.width, right / self.width), 1 - (self.start + top) / self.height
        self.figure.add_artist(Line2D(across, (up, up), color=colour, linewidth=1.5))


def grid(
    rows: Rows, panels: Sequence[Panel], outputs: Mapping[str, Float[Tensor, "batch output"]]
) -> Figure:
    """Draw images down and methods across, grouped by model, each with what the model answered.

    `outputs` are probabilities, by model. Every map is stretched from its own lowest to its highest
    value. More than `WIDEST` panels take several lines. Raises ValueError if the panels of a model
    do not stand together.
    """
    groups = [(model, list(group)) for model, group in groupby(panels, lambda p: p.model)]
    inks = {model: colour(index) for index, (model, _) in enumerate(groups)}
    if len(inks) < len(groups):
        raise ValueError(f"panels of a model must be neighbours, got {[p.model for p in panels]}")
    lines = _lines(groups)
    pixels = rows.images.shape[-2:]
    cell = (CELL * pixels[0] / pixels[1], CELL)
    step = HEAD + len(rows.images) * (cell[0] + CAPTION)
    with rc_context(STYLE):
        sheet = _Sheet(max(_width(line) for line in lines), len(lines) * step + FOOT)
        shown = pictures(rows.images, rows.spec)
        for place, line in enumerate(lines):
            sheet.start = place * step
            _truth(sheet, rows, shown, cell)
            left = MARGIN + CELL + BREAK
            for model, group in line:
                right = left + len(group) * (CELL + GAP) - GAP
                _group(sheet, (left, right), group, inks[model])
                _maps(sheet, left, group, rows, shown, cell)
                _answers(sheet, (left, right), outputs[model], rows, cell[0])
                left = right + BREAK
        sheet.start = 0.0
        _legend(sheet, any(panel.method in SIGNED for panel in panels), rows.masks is not None)
    return sheet.figure


def _lines(groups: list[Group]) -> list[list[Group]]:
    """Break the panels into lines."""
    if sum(len(group) for _, group in groups) <= WIDEST:
        return [groups]
    return [
        [(model, group[start : start + WIDEST])]
        for model, group in groups
        for start in range(0, len(group), WIDEST)
    ]


def _width(line: list[Group]) -> float:
    cells = sum(BREAK + len(group) * (CELL + GAP) - GAP for _, group in line)
    return 2 * MARGIN + CELL + cells


def _top(row: int, height: float) -> float:
    return HEAD + row * (height + CAPTION)


def _truth(sheet: _Sheet, rows: Rows, shown: Pictures, cell: tuple[float, float]) -> None:
    sheet.text(MARGIN + CELL / 2, HEAD - 0.12, "image", color=FAINT)
    for row, picture in enumerate(shown):
        sheet.picture(MARGIN, _top(row, cell[0]), picture, cell)
        if rows.labels is None:
            continue
        name = rows.spec.names[int(rows.labels[row])]
        below = _top(row, cell[0]) + cell[0] + CAPTION / 2
        sheet.text(MARGIN + CELL / 2, below, name, weight="bold")


def _group(sheet: _Sheet, span: tuple[float, float], group: Sequence[Panel], ink: str) -> None:
    words, size = fitted(title(group[0].model), span[1] - span[0])
    sheet.text(sum(span) / 2, 0.14, words, color=ink, weight="bold", size=size)
    sheet.rule(*span, 0.27, ink)
    for index, panel in enumerate(group):
        middle = span[0] + index * (CELL + GAP) + CELL / 2
        words = f"{title(panel.method)} {panel.part}".rstrip()
        sheet.text(middle, HEAD - 0.12, words, color=FAINT)


def fitted(name: str, width: float) -> tuple[str, float]:
    """Set a bold name no wider than so many inches: smaller, and from 7 points on in two lines."""
    size = 11 * min(1, width / _inches(name))
    if size >= 7:
        return name, size
    name = "\n".join(textwrap.wrap(name, math.ceil(len(name) * 0.6)))
    return name, min(8, 11 * width / max(map(_inches, name.splitlines())))


def _inches(words: str, font: FontProperties = BOLD, size: float = 11) -> float:
    return float(TextPath((0, 0), words, size=size, prop=font).get_extents().width) / 72


def _maps(
    sheet: _Sheet,
    left: float,
    group: Sequence[Panel],
    rows: Rows,
    shown: Pictures,
    cell: tuple[float, float],
) -> None:
    for index, panel in enumerate(group):
        seen = panel.own or rows
        views = pictures(seen.images, seen.spec) if panel.own else shown
        flat = [] if panel.maps is None else is_flat(panel.maps).tolist()
        for row, picture in enumerate(_laid(views, panel)):
            ax = sheet.picture(left + index * (CELL + GAP), _top(row, cell[0]), picture, cell)
            if seen.masks is not None and flat:
                outline(ax, seen.masks[row])
            if flat and flat[row]:
                ax.text(
                    0.5, 0.04, "says nothing", color="white", ha="center", transform=ax.transAxes
                )


def _laid(shown: Pictures, panel: Panel) -> Sequence[Picture]:
    """Lay the maps of a column over the pictures."""
    if panel.maps is None:
        return list(shown)
    signed = panel.method in SIGNED
    stretches = stretched(panel.maps, signed)
    return [overlay(*pair, signed) for pair in zip(shown, stretches, strict=True)]


def outline(ax: Axes, mask: Bool[Tensor, "height width"]) -> None:
    """Draw the rim of a mask, readable on dark and bright ground; an empty mask has none."""
    shade = patheffects.withStroke(linewidth=2.0, foreground="black", alpha=0.6)
    limits = ax.get_xlim(), ax.get_ylim()
    for rim in rims(mask):
        ax.plot(*rim.T, color="white", linewidth=0.9, path_effects=[shade])
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])


def _answers(
    sheet: _Sheet,
    span: tuple[float, float],
    output: Float[Tensor, "batch output"],
    rows: Rows,
    height: float,
) -> None:
    shares, answers = output.cpu().max(-1)
    for row, (share, answer) in enumerate(zip(shares.tolist(), answers.tolist(), strict=True)):
        decimals = 1 if share < 0.01 else 0
        words, ink = f"{rows.spec.names[answer]}  {100 * share:.{decimals}f} %", INK
        if rows.labels is not None:
            right = answer == int(rows.labels[row])
            words, ink = f"{'✓' if right else '✗'} {words}", RIGHT if right else WRONG
        below = _top(row, height) + height + CAPTION / 2
        size = 9 * min(1, (span[1] - span[0]) / _inches(words, PLAIN, 9))
        sheet.text(sum(span) / 2, below, words, color=ink, size=size)


def _legend(sheet: _Sheet, signed: bool, masked: bool) -> None:
    top = sheet.height - 0.16
    ramp = colormaps[UNSIGNED](np.linspace(0, 1, 128))[None, :, :3]
    ax = sheet.picture(MARGIN, top - 0.05, ramp, (0.1, 0.9))
    ax.set_aspect("auto")
    words = "lowest to highest value of each map"
    if signed:
        words += " (maps for and against: red and blue, white is 0)"
    if masked:
        words += " · outline: the true object"
    sheet.text(MARGIN + 1.0, top, words, ha="left", color=FAINT, size=8)
