"""Paint a layout: integer arithmetic only, so that every platform draws the same pixels."""

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from numpy.typing import NDArray

from vision_attn.data.layout import Ground, Layout, polygons
from vision_attn.data.shapes import COLOURS, COSINES, MUTED, ONE, SINES

cv2.setNumThreads(0)  # images this small gain nothing, and its threads do not survive a fork

VERSION = 2
"""Raised whenever a pixel changes: drawn images that were kept are then drawn again."""

_FINE = 4
"""Sub-pixels a pixel side; the foreground is painted fine and averaged."""
_SHIFT = 4
"""Fractional bits of the vertices given to OpenCV."""
_FULL = _FINE * _FINE
"""Opacity one. The fine image holds multiples of it: their averages are whole, so no rounding."""
_COVERED = 10
"""Sub-pixels that make a pixel half covered: OpenCV also paints those that an outline touches."""

Planes: TypeAlias = UInt16[np.ndarray, "channel row column"]
"""Colour planes, 0-255, with room for a product with _FULL."""


def paint(layout: Layout, size: int) -> UInt8[np.ndarray, "height width channel"]:
    """Paint background, clutter and objects, back to front, on `size` x `size` pixels."""
    foreground = _foreground(layout, size)
    opacity = foreground[3] // _FULL
    image = _background(layout.ground, size) * _light(opacity)
    image >>= 7
    image *= _FULL - opacity
    image += foreground[:3]
    image += _FULL // 2
    image >>= 4  # the same as //= _FULL, and sooner
    return np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.uint8)


def visible(layout: Layout, size: int) -> list[Bool[np.ndarray, "height width"]]:
    """Give the pixels where each object shows: at least half covered, and by nothing in front."""
    free = np.ones((size, size), dtype=bool)
    masks = []
    for body in reversed(silhouettes(layout, size)):
        masks.append(body & free)
        free &= ~body
    return masks[::-1]


def silhouettes(layout: Layout, size: int) -> list[Bool[np.ndarray, "height width"]]:
    """Give the pixels that each object covers by half or more, as if nothing were in front."""
    masks = []
    for item, points in zip(layout.objects, layout.outlines, strict=True):
        fine = np.zeros((size * _FINE, size * _FINE), dtype=np.uint16)
        cv2.fillPoly(fine, polygons(item, _vertices(points, size))[0], _FULL * _FULL, shift=_SHIFT)
        masks.append(_averaged(fine, size) >= _FULL * _COVERED)
    return masks


def _foreground(layout: Layout, size: int) -> UInt16[np.ndarray, "plane row column"]:
    """Paint clutter and objects: colours times the share covered, and that share (of _FULL²)."""
    fine = np.zeros((size * _FINE, size * _FINE, 4), dtype=np.uint16)
    pens = [MUTED[layout.ground.tone], *(COLOURS[name] for name in layout.pens)]
    strokes = _vertices(layout.strokes, size)
    for i, pen in enumerate(pens):
        cv2.fillPoly(fine, list(strokes[i :: len(pens)]), _pigment(pen), shift=_SHIFT)
    for item, points in zip(layout.objects, layout.outlines, strict=True):
        body, inside = polygons(item, _vertices(points, size))
        (red, green, blue), tint = COLOURS[item.colour], item.tint
        colour = (red + tint[0], green + tint[1], blue + tint[2])
        dark = (colour[0] * 5 >> 3, colour[1] * 5 >> 3, colour[2] * 5 >> 3)
        cv2.fillPoly(fine, body, _pigment(dark), shift=_SHIFT)
        cv2.fillPoly(fine, inside, _pigment(colour), shift=_SHIFT)
    return _averaged(fine, size).transpose(2, 0, 1).copy()


def _pigment(colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Give the value of a fine pixel: colour and opacity, both times _FULL."""
    red, green, blue = colour
    return red * _FULL, green * _FULL, blue * _FULL, _FULL * _FULL


def _vertices(points: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Turn 1/ONE of the image side to parts of fine pixels; OpenCV counts from pixel centres."""
    return ((points * (size * _FINE << _SHIFT) // ONE) - (1 << _SHIFT >> 1)).astype(np.int32)


def _averaged(fine: NDArray[np.uint16], size: int) -> NDArray[np.uint16]:
    """Average fine pixels, in two halvings: much faster than at once, and as exact."""
    half = cv2.resize(fine, (size * 2, size * 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(half, (size, size), interpolation=cv2.INTER_AREA)


def _light(opacity: UInt16[np.ndarray, "row column"]) -> UInt16[np.ndarray, "row column"]:
    """Give the light on the ground, 64 to 128: what lies on it throws a soft shadow, down right."""
    reach = max(1, len(opacity) // 24)
    shadow = np.zeros_like(opacity)
    shadow[reach:, reach:] = opacity[:-reach, :-reach]
    return 128 - 4 * cv2.blur(shadow, (2 * reach + 1, 2 * reach + 1))


@lru_cache(maxsize=8)
def _places(size: int) -> NDArray[np.int64]:
    """Give pixel places along a side, in 1/ONE of it."""
    return np.arange(size) * ONE // size


def _background(ground: Ground, size: int) -> Planes:
    """Paint blended tints and a texture; every sum stays below 256."""
    base = ground.tints[1, 1] // 6 + np.uint8(24 if ground.tone == "dark" else 148)
    tints = base + ground.tints // 9
    smooth = cv2.resize(tints, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    return smooth.transpose(2, 0, 1).astype(np.uint16, order="C") + _texture(ground, size)


def _texture(ground: Ground, size: int) -> NDArray[np.uint16]:
    """Give the lightness that the texture adds, 0 to 36."""
    if ground.texture == "striped":
        return _stripes(*ground.stripes, size)
    cells = ground.grain if ground.texture == "speckled" else ground.grain[:12, :12]
    grain = cv2.resize(cells // 7, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    return grain.astype(np.uint16)


def _stripes(direction: int, density: int, phase: int, size: int) -> NDArray[np.uint16]:
    """Give a triangle wave across the image, of two `density` periods a side."""
    along = _places(size) * density >> 2
    across = along[None] * COSINES[direction] + along[:, None] * SINES[direction]
    wave = np.abs(((across // ONE + phase) & 511) - 256)
    return (wave // 8).astype(np.uint16)
