"""The trail of a moving eye over an image, as a picture and as an animation."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib import colormaps, patheffects, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from vision_attn.engine.atomic import whole
from vision_attn.report.figures import INK, RIGHT, STYLE, WRONG
from vision_attn.report.overlay import Pictures, pictures
from vision_attn.report.walk import Walk
from vision_attn.spec import Spec

PACE = 700
"""Milliseconds that a glimpse is shown in an animation; the last stays three times as long."""

NEAR = 0.06
"""Numbers of places that lie closer would cover each other; a share of the longer side."""


class Trail(NamedTuple):
    """One image and the walk over it."""

    picture: Pictures
    """The image itself, as a batch of one."""
    walk: Walk
    """Of this image: the batch has one entry."""
    seen: list[Pictures]
    """For each scale, finest first, what was seen step by step."""
    label: int | None
    names: tuple[str, ...]
    growth: float
    """Width of a patch over that of the next finer one."""

    @property
    def steps(self) -> int:
        """Count the glimpses until the network had enough."""
        return int(self.walk.taken[0])


def trail(
    image: Tensor, walk: Walk, spec: Spec, *, label: int | None = None, growth: float = 2.0
) -> Trail:
    """Prepare an image and its walk, both as batches of one, for drawing."""
    scales = walk.patches[0].unflatten(1, (-1, spec.channels)).unbind(1)
    seen = [pictures(scale, spec) for scale in scales]
    return Trail(pictures(image, spec), walk, seen, label, spec.names, growth)


def trail_figure(found: Trail) -> Figure:
    """Draw the path over the image, and beside it what the retina saw at every step."""
    scales, steps = len(found.seen), found.steps
    side = max(2.6, 0.95 * scales + 0.5)
    with rc_context(STYLE):
        figure = Figure(figsize=(side + 0.85 * steps + 0.3, side), layout="constrained")
        left, right = _halves(figure, side, 0.85 * steps)
        ax = left.subplots()
        _draw_path(ax, found, steps)
        ax.set_title(*_label(found), size=9, color=INK)
        panels = right.subplots(scales, steps, squeeze=False)
        for step in range(steps):
            for scale, row in enumerate(panels):
                _show(row[step], found.seen[scale][step])
                _frame(row[step], _ink(step, steps))
            words, ink = _answer(found, step)
            panels[0][step].set_title(f"{step + 1}\n{words}", size=8, color=ink)
    return figure


def trail_frames(found: Trail, *, dpi: int = 110) -> list[UInt8[np.ndarray, "row column rgb"]]:
    """Draw one frame a glimpse: the path so far, and what is seen at its end."""
    frames = []
    for step in range(found.steps):
        with rc_context(STYLE):
            figure = Figure(figsize=(2.6 + 1.1, 2.9), layout="constrained")
            left, right = _halves(figure, 2.6, 1.1)
            ax = left.subplots()
            _draw_path(ax, found, step + 1)
            words, ink = _answer(found, step)
            ax.set_title(f"glimpse {step + 1} of {found.steps}: {words}", size=9, color=ink)
            panels = right.subplots(len(found.seen), 1, squeeze=False)[:, 0]
            for scale, panel in zip(found.seen, panels, strict=True):
                _show(panel, scale[step])
                _frame(panel, _ink(step, found.steps))
            canvas = FigureCanvasAgg(figure)
            figure.set_dpi(dpi)
            canvas.draw()
            frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return frames


def save_animation(frames: Sequence[UInt8[np.ndarray, "row column rgb"]], path: Path) -> None:
    """Write frames as an animated GIF that repeats without end."""
    images = [Image.fromarray(frame).quantize(128) for frame in frames]
    file = io.BytesIO()
    images[0].save(
        file,
        "gif",
        save_all=True,
        append_images=images[1:],
        duration=[PACE] * (len(images) - 1) + [3 * PACE],
        loop=0,
    )
    with whole(path) as target:
        target.write(file.getvalue())


def _halves(figure: Figure, left: float, right: float) -> Any:
    """Divide a figure into a left and a right part of these widths."""
    return figure.subfigures(1, 2, width_ratios=[left, right])


def _draw_path(ax: Axes, found: Trail, steps: int) -> None:
    """Draw the image, a box for every finest patch so far, and the way from one to the next."""
    _show(ax, found.picture[0])
    height, width = found.picture.shape[1:3]
    unit = np.array([width, height]) / 2
    points = (found.walk.centres[0, :steps].numpy() + 1) * unit - 0.5
    sides = found.walk.extents[0, :steps].numpy() * unit
    outline = [patheffects.withStroke(linewidth=2.4, foreground="black")]
    if steps > 1:
        ax.plot(*points.T, color="white", linewidth=1, path_effects=outline)
    for step, (point, side) in enumerate(zip(points, sides, strict=True)):
        ax.add_patch(_box(point, side, _ink(step, found.steps), 1.6))
    for point, numbers in _gathered(points, NEAR * max(width, height)):
        ax.annotate(
            ",".join(map(str, numbers)),
            (point[0], point[1]),
            color=_ink(numbers[-1] - 1, found.steps),
            size=8,
            weight="bold",
            ha="center",
            va="center",
            path_effects=outline,
        )
    for scale in range(1, len(found.seen)):
        wide = sides[-1] * found.growth**scale
        ax.add_patch(_box(points[-1], wide, _ink(steps - 1, found.steps), 0.8, ":"))
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)


def _gathered(points: np.ndarray, reach: float) -> list[tuple[np.ndarray, list[int]]]:
    """Number places, and give those whose numbers would cover those of an earlier one to it."""
    found: list[tuple[np.ndarray, list[int]]] = []
    for number, point in enumerate(points, 1):
        for place, numbers in found:
            wide = np.array([(len(numbers) + 1) / 2, 1])
            if np.hypot(*(point - place) / wide) < reach:
                numbers.append(number)
                break
        else:
            found.append((point, [number]))
    return found


def _box(
    point: np.ndarray, side: np.ndarray, ink: tuple, width: float, style: str = "-"
) -> Rectangle:
    return Rectangle(
        tuple(point - side / 2), *side, fill=False, edgecolor=ink, linewidth=width, linestyle=style
    )


def _show(ax: Axes, picture: np.ndarray) -> None:
    ax.imshow(picture, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])


def _frame(ax: Axes, ink: tuple) -> None:
    for spine in ax.spines.values():
        spine.set(visible=True, edgecolor=ink, linewidth=1.6)


def _ink(step: int, steps: int) -> tuple:
    """Give the colour of a glimpse, from the first to the last."""
    return colormaps["plasma"](0.25 + 0.65 * step / max(steps - 1, 1))


def _answer(found: Trail, step: int) -> tuple[str, str]:
    """Say what is answered after a glimpse and how surely, in the ink of right or wrong."""
    shares = found.walk.answers[0, step]
    best = int(shares.argmax())
    ink = INK if found.label is None else RIGHT if best == found.label else WRONG
    return f"{found.names[best]} {100 * shares[best]:.0f} %", ink


def _label(found: Trail) -> tuple[str]:
    return ("" if found.label is None else f"label: {found.names[found.label]}",)
