"""All that is known of a drawn scene: its objects, and sentences about them, also as numbers."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8

from vision_attn.data.dice import Dice
from vision_attn.data.draw import paint, silhouettes, visible
from vision_attn.data.grammar import LONGEST, WORDS, captions, words
from vision_attn.data.layout import Layout, plan
from vision_attn.data.scene import Object, Scene
from vision_attn.data.shapes import SHAPES
from vision_attn.language.vocabulary import SPECIALS, Vocabulary

VOCABULARY = Vocabulary((*SPECIALS, *WORDS))
"""All words of the language, whichever a split happens to use."""
WIDTH = LONGEST + 1
"""Words of the longest sentence, and its end."""


def scene(seed: int, split: str, index: int, size: int) -> Scene:
    """Draw one scene of a split on `size` x `size` pixels and tell what is on it."""
    layout = plan(seed, split, index)
    bare = _bare(layout, index, paint(layout, size))
    return replace(bare, captions=captions(bare, Dice(seed, split, index, purpose=1)))


def sentences(seed: int, split: str, index: int, size: int) -> UInt8[np.ndarray, "caption word"]:
    """Give the captions of a scene as numbers of words, ended and padded, without painting it."""
    canvas = np.empty((size, size, 3), np.uint8)
    bare = _bare(plan(seed, split, index), index, canvas)
    texts = captions(bare, Dice(seed, split, index, purpose=1))
    found = np.zeros((len(texts), WIDTH), np.uint8)
    for row, text in zip(found, texts, strict=True):
        numbers = VOCABULARY.encode(words(text))
        row[: len(numbers)] = numbers
    return found


def _bare(layout: Layout, index: int, image: UInt8[np.ndarray, "height width channel"]) -> Scene:
    """Tell what is on a scene, without sentences."""
    size = len(image)
    masks, bodies = visible(layout, size), silhouettes(layout, size)
    objects = tuple(
        Object(item.shape, item.colour, item.size, _box(mask), mask, _hidden(bodies[: number + 1]))
        for number, (item, mask) in enumerate(zip(layout.objects, masks, strict=True))
    )
    label, ground = index % len(SHAPES), layout.ground
    return Scene(image, label, layout.main, objects, ground.tone, ground.texture)


def _box(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """Bound the true pixels."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _hidden(bodies: list[Bool[np.ndarray, "height width"]]) -> tuple[int, ...]:
    """Say of which bodies the last one covers a twentieth, of itself or of the other."""
    *behind, front = bodies
    common = [(front & body).sum() / min(front.sum(), body.sum()) for body in behind]
    return tuple(i for i, share in enumerate(common) if share >= 0.05)
