"""What a scene is made of: shapes as polygons, named colours, sizes and backgrounds."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

ONE = 4096
"""Fixed-point one: outlines, lengths and cosines are integers, so that every platform agrees."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 44, 46),
    "orange": (243, 136, 28),
    "yellow": (244, 212, 52),
    "green": (56, 158, 66),
    "cyan": (52, 196, 208),
    "blue": (44, 88, 214),
    "purple": (128, 56, 172),
    "pink": (244, 134, 186),
}
"""Red, green and blue of each named colour, so far inside 0-255 that TINT fits."""

TINT = 10
"""Levels by which a channel of an object's colour may differ from the named one."""

SIZES: dict[str, tuple[int, int]] = {
    "small": (360, 420),
    "medium": (640, 690),
    "large": (940, 1040),
}
"""Least and greatest radius of the disc of equal area, in 1/ONE of the image side."""

MUTED: dict[str, tuple[int, int, int]] = {"dark": (90, 84, 80), "light": (150, 146, 150)}
"""Of the clutter that stands out little from a background of each tone."""
TEXTURES = ("cloudy", "striped", "speckled")

RIM = 0.12
"""Width of an object's darker rim, as a share of its radius."""


def _arc(radius: float, start: float, stop: float, steps: int, x: float = 0.0) -> list:
    """Give points on a circle around (x, 0), angles in degrees, both ends included."""
    angles = [math.radians(start + (stop - start) * i / steps) for i in range(steps + 1)]
    return [(x + radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _disc(radius: float) -> list:
    """Give the corners of a polygon too fine to be told from a disc."""
    return _arc(radius, 0, 350, 35)


def _star() -> list:
    """Alternate tips and notches, five of each."""
    tips = [(1.0 if i % 2 == 0 else 0.5, math.radians(36 * i - 90)) for i in range(10)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in tips]


def _heart() -> list:
    """Draw two lobes and a tip: the curve of 16 sin^3 and four cosines."""
    angles = [math.tau * i / 32 for i in range(32)]
    return [
        (
            16 * math.sin(a) ** 3,
            -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)),
        )
        for a in angles
    ]


def _crescent() -> list:
    """Cut a disc by another: the outer arc there, the inner arc back, meeting in two horns."""
    outer = _arc(1.0, 50, 310, 24)
    tip_x, tip_y = outer[0]
    centre = 0.42
    inner = math.hypot(tip_x - centre, tip_y)
    angle = math.degrees(math.atan2(tip_y, tip_x - centre))
    return outer + _arc(inner, 360 - angle, angle, 20, centre)[1:-1]


_CROSS = [(1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3)]
_ARROW = [(0, -10), (9, 0), (3.6, 0), (3.6, 9), (-3.6, 9), (-3.6, 0), (-9, 0)]
_BOLT = [(2, -10), (-8.5, 2.5), (-2, 2.5), (-5, 10), (8.5, -3.5), (2.5, -3.5), (8, -10)]

_POLYGONS: dict[str, list[list]] = {
    "circle": [_disc(1.0)],
    "square": [[(-1, -1), (1, -1), (1, 1), (-1, 1)]],
    "triangle": [_arc(1.0, -90, 150, 2)],
    "star": [_star()],
    "cross": [_CROSS + [(-x, -y) for x, y in _CROSS]],
    "heart": [_heart()],
    "ring": [_disc(1.0), _disc(0.55)],
    "crescent": [_crescent()],
    "arrow": [_ARROW],
    "bolt": [_BOLT],
}


def _area(points: NDArray[np.float64]) -> float:
    """Give a polygon's area by the shoelace formula; negative where it runs counter-clockwise."""
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _inset(points: NDArray[np.float64], depth: float) -> NDArray[np.float64]:
    """Move every edge inwards by `depth`; corners stay corners, unless they are very sharp."""
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    depth = math.copysign(depth, depth * _area(points))
    before /= np.linalg.norm(before, axis=1, keepdims=True)
    after /= np.linalg.norm(after, axis=1, keepdims=True)
    normals = np.stack([-before[:, 1] - after[:, 1], before[:, 0] + after[:, 0]], axis=1)
    blunt = (1 + (before * after).sum(1, keepdims=True)).clip(0.5)  # or a cusp would run away
    return points + normals * depth / blunt


class Outline(NamedTuple):
    """A shape of the area of a disc of radius ONE, its box around the origin; y points down."""

    points: Int64[np.ndarray, "point xy"]
    """Of all its polygons, one after the other."""
    ends: tuple[int, ...]
    """Where each polygon ends: the body, its hole if any, then the same without the rim."""


def _outline(polygons: list[list]) -> Outline:
    """Centre and scale a shape, and add the polygons of what its rim leaves."""
    arrays = [np.array(p, dtype=np.float64) for p in polygons]
    middle = (arrays[0].min(0) + arrays[0].max(0)) / 2
    area = abs(_area(arrays[0])) - sum(abs(_area(hole)) for hole in arrays[1:])
    outer = [(p - middle) * math.sqrt(math.pi / area) for p in arrays]
    inner = [_inset(p, RIM * side) - RIM / 3 for p, side in zip(outer, (1, -1), strict=False)]
    ends = tuple(np.cumsum([len(p) for p in outer + inner]).tolist())
    return Outline(np.rint(np.concatenate(outer + inner) * ONE).astype(np.int64), ends)


SHAPES: dict[str, Outline] = {name: _outline(p) for name, p in _POLYGONS.items()}
"""Outline of each class, in class order; all have the same area, so a size means a size."""

ANGLES = 256
COSINES = np.rint(ONE * np.cos(np.arange(ANGLES) * (math.tau / ANGLES))).astype(np.int64)
"""Of ANGLES directions of a full turn; rounded, so that libm's last bit cannot matter."""
SINES = np.roll(COSINES, ANGLES // 4)
