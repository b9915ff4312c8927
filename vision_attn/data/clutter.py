"""Thin bowed strokes that lie about in a scene: no object, and of no class."""

import numpy as np
from jaxtyping import Int64, UInt8

from vision_attn.data.shapes import ANGLES, COSINES, ONE, SINES

STROKES = 9
"""In each scene."""
LENGTHS = (250, 700, 1200, 1800)
"""From dashes to long bows, in 1/ONE of the image side."""
BENDS = (-8, -4, 0, 4, 8)
"""Turn at each joint, in 1/ANGLES of a full turn."""
_TAPER = np.array([5, 7, 8, 8, 8, 7, 5]) * 5
"""Half of a stroke's width at its joints, in 1/ONE of the image side."""


def _bow(direction: int, bend: int, length: int) -> Int64[np.ndarray, "point xy"]:
    """Draw a ribbon of seven joints around the origin: along one side, back along the other."""
    angles = (direction + bend * np.arange(-3, 4)) % ANGLES
    heading = np.stack([COSINES[angles], SINES[angles]], axis=1)
    spine = np.cumsum(heading * (length // 6) // ONE, axis=0)
    side = np.stack([-heading[:, 1], heading[:, 0]], axis=1) * _TAPER[:, None] // ONE
    return np.concatenate([spine + side, (spine - side)[::-1]]) - spine[3]


BOWS = np.stack(
    [
        _bow(direction, bend, length)
        for direction in range(0, ANGLES, 4)
        for bend in BENDS
        for length in LENGTHS
    ]
)
"""All strokes there are, (stroke, point, xy)."""


def strewn(noise: UInt8[np.ndarray, " byte"]) -> Int64[np.ndarray, "stroke point xy"]:
    """Choose strokes and their places by chance; four bytes decide each."""
    draws = noise[: STROKES * 4].reshape(STROKES, 4).astype(np.int64)
    places = draws[:, None, 2:] * (ONE // 256)
    return BOWS[(draws[:, 0] * 256 + draws[:, 1]) % len(BOWS)] + places
