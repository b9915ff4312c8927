"""What a scene shows, before it is painted: a pure function of seed, split and index."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Int, Int64, UInt8

from vision_attn.data.clutter import STROKES, strewn
from vision_attn.data.dice import Dice
from vision_attn.data.shapes import (
    ANGLES,
    COLOURS,
    COSINES,
    MUTED,
    ONE,
    SHAPES,
    SINES,
    SIZES,
    TEXTURES,
    TINT,
)

_OVERLAP = 45
"""How deep the discs of two objects may interlock: per cent of the smaller one's radius."""
_SHOWN = 65
"""Per cent of an object's area that must show."""
_MARGIN = 165
"""Per cent of any other object's visible area that the main object's must have."""
_RASTER = 64
"""Pixels a side on which the two are counted."""


class Placed(NamedTuple):
    """One object of a layout; lengths in 1/ONE of the image side, angle in 1/ANGLES of a turn."""

    shape: str
    colour: str
    size: str
    x: int
    y: int
    radius: int
    angle: int
    tint: tuple[int, int, int]
    """Added to the named colour, one a channel."""


class Ground(NamedTuple):
    """The background of a scene."""

    tone: str
    texture: str
    tints: UInt8[np.ndarray, "row column channel"]
    """Colour at nine places, blended in between; 0-255, of which the painter takes a share."""
    grain: UInt8[np.ndarray, "row column"]
    """Noise for a texture."""
    stripes: tuple[int, int, int]
    """Direction (in 1/ANGLES of a turn), density (half the periods a side), phase (of 512)."""


class Layout(NamedTuple):
    """A scene as numbers, the same at any image size."""

    objects: tuple[Placed, ...]
    """Back to front."""
    outlines: tuple[Int64[np.ndarray, "point xy"], ...]
    """Of each object, as in `Outline`, in 1/ONE of the image side."""
    main: int
    ground: Ground
    strokes: Int64[np.ndarray, "stroke point xy"]
    """Thin closed ribbons, in 1/ONE of the image side: clutter that is no shape of any class."""
    pens: tuple[str, ...]
    """Colours of the strokes in turn, beside a muted one."""


_SHAPES, _COLOURS = tuple(SHAPES), tuple(COLOURS)


def plan(seed: int, split: str, index: int) -> Layout:
    """Decide a scene; the main object's shape is `index` modulo the classes: they are balanced."""
    dice = Dice(seed, split, index)
    shape = _SHAPES[index % len(_SHAPES)]
    objects, main = _arranged(dice, shape)
    while not _clear(outlines := tuple(map(_outline, objects)), objects, main):
        objects, main = _arranged(dice, shape)
    ground, strokes = _ground(dice), strewn(dice.bytes(4 * STROKES))
    return Layout(
        objects, outlines, main, ground, strokes, (dice.pick(_COLOURS), dice.pick(_COLOURS))
    )


def polygons(
    item: Placed, points: Int[np.ndarray, "point xy"]
) -> tuple[list[Int[np.ndarray, "point xy"]], list[Int[np.ndarray, "point xy"]]]:
    """Cut an object's outline into polygons: of its whole body, and of what its rim leaves."""
    parts = [points[i:j] for i, j in pairwise((0, *SHAPES[item.shape].ends))]
    return parts[: len(parts) // 2], parts[len(parts) // 2 :]


def _ground(dice: Dice) -> Ground:
    """Decide the background."""
    tints, grain = dice.bytes(27).reshape(3, 3, 3), dice.bytes(1600).reshape(40, 40)
    stripes = (dice.between(0, ANGLES - 1), dice.between(4, 8), dice.between(0, 511))
    return Ground(dice.pick(tuple(MUTED)), dice.pick(TEXTURES), tints, grain, stripes)


def _arranged(dice: Dice, shape: str) -> tuple[tuple[Placed, ...], int]:
    """Place one to four objects; give them back to front, and say which is the main one."""
    main = _main(dice, shape)
    objects = [main]
    smaller = ("small", "medium") if main.size == "large" else ("small",)
    for _ in range(dice.pick((0, 1, 1, 2, 2, 3, 3))):
        other = _other(dice, objects, dice.pick(smaller))
        if other is not None:
            objects.append(other)
    order = tuple(dice.shuffled(objects))
    return order, order.index(main)


def _outline(item: Placed) -> Int64[np.ndarray, "point xy"]:
    """Turn an object's outline clockwise, scale it and move it to its place."""
    cosine, sine = int(COSINES[item.angle]), int(SINES[item.angle])
    turn = np.array([[cosine, sine], [-sine, cosine]]) * item.radius
    return SHAPES[item.shape].points @ turn // (ONE * ONE) + (item.x, item.y)


def _clear(outlines: tuple, objects: tuple[Placed, ...], main: int) -> bool:
    """Say whether enough of every object shows, and of the main one by far the most."""
    canvas = np.zeros((_RASTER, _RASTER), dtype=np.uint8)
    for number, (item, points) in enumerate(zip(objects, outlines, strict=True), start=1):
        vertices = (points * (_RASTER * 16) // ONE - 8).astype(np.int32)
        cv2.fillPoly(canvas, polygons(item, vertices)[0], number, shift=4)
    shown = np.bincount(canvas.ravel(), minlength=len(objects) + 1).tolist()[1:]
    areas = [355 * (item.radius * _RASTER) ** 2 // (113 * ONE * ONE) for item in objects]
    return all(
        100 * pixels >= _SHOWN * area and (i == main or 100 * shown[main] >= _MARGIN * pixels)
        for i, (pixels, area) in enumerate(zip(shown, areas, strict=True))
    )


def _main(dice: Dice, shape: str) -> Placed:
    """Place the object that the scene is about anywhere it is nearly whole."""
    main = _draw(dice, shape, dice.pick(("medium", "large")))
    return _moved(dice, main, inset=main.radius * 85 // 100)


def _other(dice: Dice, objects: list[Placed], size: str) -> Placed | None:
    """Place one more object, often against another one; None where there is no room."""
    new = _draw(dice, dice.pick(_SHAPES), size)
    if any((new.shape, new.colour) == (old.shape, old.colour) for old in objects):
        return None  # words could not tell them apart
    for _ in range(12):
        beside = dice.chance(50)
        new = _beside(dice, new, dice.pick(objects)) if beside else _moved(dice, new, new.radius)
        if _whole(new) and all(_apart(new, old) for old in objects):
            return new
    return None


def _draw(dice: Dice, shape: str, size: str) -> Placed:
    """Draw all of an object but its place."""
    tint = (dice.between(-TINT, TINT), dice.between(-TINT, TINT), dice.between(-TINT, TINT))
    radius, angle = dice.between(*SIZES[size]), dice.between(0, ANGLES - 1)
    return Placed(shape, dice.pick(_COLOURS), size, 0, 0, radius, angle, tint)


def _moved(dice: Dice, item: Placed, inset: int) -> Placed:
    """Put an object anywhere at least `inset` inside the image."""
    x, y = dice.between(inset, ONE - inset), dice.between(inset, ONE - inset)
    return item._replace(x=x, y=y)


def _beside(dice: Dice, new: Placed, old: Placed) -> Placed:
    """Put an object against another one, so that one of the two may hide a part of the other."""
    reach = _least_distance(new, old) * dice.between(100, 108) // 100
    direction = dice.between(0, ANGLES - 1)
    x = old.x + (reach * int(COSINES[direction]) // ONE)
    y = old.y + (reach * int(SINES[direction]) // ONE)
    return new._replace(x=x, y=y)


def _whole(item: Placed) -> bool:
    """Say whether an object lies within the image, but for the tips of its corners."""
    return all(item.radius <= place <= ONE - item.radius for place in (item.x, item.y))


def _apart(new: Placed, old: Placed) -> bool:
    """Say whether two objects overlap by a little at most."""
    return (new.x - old.x) ** 2 + (new.y - old.y) ** 2 >= _least_distance(new, old) ** 2


def _least_distance(new: Placed, old: Placed) -> int:
    """Say how near the centres of two objects may come."""
    return new.radius + old.radius - min(new.radius, old.radius) * _OVERLAP // 100
