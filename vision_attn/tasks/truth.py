"""Whether words look at what they name: looks of generated captions against boxes and masks.

The look of a word is the one that precedes it, when the word is not known yet. Noun phrases are
those of true captions, whose objects are known; a phrase's look is the mean over its words but for
the article, which are listed one by one as well.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from vision_attn.data.grammar import Phrase, phrases_of, valid_words
from vision_attn.data.scene import Object, Scene
from vision_attn.tape import Looked

Mask: TypeAlias = Bool[np.ndarray, "height width"]
Maps: TypeAlias = Float[np.ndarray, "word height width"]


class Looks(NamedTuple):
    """Where the words of a caption looked, in pixels."""

    maps: Maps
    """Each sums to 1, less what a window or a glimpse leaves out."""
    points: Float[np.ndarray, "word xy"]
    """The middle of the region with most weight, or of the glimpse."""
    regions: Float[np.ndarray, "word region"] | None
    """Means over heads; None for glimpses."""
    middles: Float[np.ndarray, "region xy"] | None


def looks(caption: Looked, size: tuple[int, int]) -> Looks:
    """Spread every look over the pixels (rows, columns) that it covers, evenly over a region."""
    if caption.weights is None:
        assert caption.centres is not None
        assert caption.extents is not None
        points = (caption.centres.double().cpu().numpy() + 1) / 2 * size[::-1]
        spans = caption.extents.double().cpu().numpy() / 2 * size[::-1]
        return Looks(_windows(points, spans, size), points, None, None)
    assert caption.grid is not None
    weights = caption.weights.double().mean(1).cpu().numpy()
    rows, columns = caption.grid
    down = (np.arange(size[0]) * rows) // size[0]
    across = (np.arange(size[1]) * columns) // size[1]
    cells = down[:, None] * columns + across
    maps = (weights / np.bincount(cells.ravel(), minlength=rows * columns))[:, cells]
    places = np.indices((rows, columns)).reshape(2, -1).T[:, ::-1] + 0.5
    middles = places * (size[1] / columns, size[0] / rows)
    return Looks(maps, middles[weights.argmax(1)], weights, middles)


def _windows(points: np.ndarray, spans: np.ndarray, size: tuple[int, int]) -> Maps:
    """Spread 1 over each window (middle and extent in pixels); what leaves the image is lost."""

    def covered(middle: np.ndarray, span: np.ndarray, count: int) -> np.ndarray:
        edges = np.arange(count + 1)
        low, high = middle[:, None] - span[:, None] / 2, middle[:, None] + span[:, None] / 2
        return np.diff(edges.clip(low, high), axis=1) / span[:, None]

    across = covered(points[:, 0], spans[:, 0], size[1])
    down = covered(points[:, 1], spans[:, 1], size[0])
    return down[:, :, None] * across[:, None, :]


class Judge:
    """Hold captions against their scenes, one after the other, and keep what was found."""

    def __init__(self) -> None:
        self.true: list[bool] = []
        """Whether each caption was true of its scene."""
        self.rows: list[dict[str, float]] = []
        """Numbers for each noun phrase of the true ones."""
        self._other: Object | None = None

    def hear(self, caption: Looked, words: Sequence[str], scene: Scene) -> None:
        """Judge a caption of these words."""
        self.true.append(valid_words(words, scene))
        if not self.true[-1]:
            return
        seen = looks(caption, scene.image.shape[:2])
        for phrase in phrases_of(words, scene):
            self.rows.append(self._judged(seen, phrase, scene.objects[phrase.object]))

    def _judged(self, seen: Looks, phrase: Phrase, item: Object) -> dict[str, float]:
        words, box = list(range(phrase.first + 1, phrase.last + 1)), _box(item)
        row = _held_against(seen, words, item) | {
            "uniform_mass_in_box": box.mean().item(),
            "uniform_mass_in_mask": item.mask.mean().item(),
        }
        for role, word in _roles(phrase):
            row[f"pointing_{role}"] = _pointing(seen, [word], box)
            row[f"mass_in_box_{role}"] = float((seen.maps[word] * box).sum())
        if self._other is not None and self._other.mask.shape == box.shape:
            chance = _held_against(seen, words, self._other)
            row |= {f"chance_{name}": number for name, number in chance.items()}
        self._other = item
        return row


def _held_against(seen: Looks, words: list[int], item: Object) -> dict[str, float]:
    """Measure the looks of a phrase's words at an object."""
    box = _box(item)
    masses = [(seen.maps[word] * box).sum() for word in words]
    return {
        "mass_in_box": float(np.mean(masses)),
        "mass_in_mask": float((seen.maps[words].mean(0) * item.mask).sum()),
        "attention_correctness": float(max(masses)),
        "pointing": _pointing(seen, words, box),
        "pointing_mask": _pointing(seen, words, item.mask),
    }


def _box(item: Object) -> Mask:
    box = np.zeros_like(item.mask)
    left, top, right, bottom = item.box
    box[top:bottom, left:right] = True
    return box


def _roles(phrase: Phrase) -> list[tuple[str, int]]:
    """Name the words of a noun phrase: an article, perhaps a size, a colour and a shape."""
    inside = range(phrase.first + 1, phrase.last - 1)
    sizes = [("size", word) for word in inside]
    ends = [("colour", phrase.last - 1), ("shape", phrase.last)]
    return [("article", phrase.first), *sizes, *ends]


def _pointing(seen: Looks, words: list[int], mask: Mask) -> float:
    """Tell whether the highest region of a mean look has its middle in the mask.

    For glimpses: the share of the words whose glimpse has.
    """
    points = seen.points[words]
    if seen.regions is not None and seen.middles is not None:
        points = seen.middles[[seen.regions[words].mean(0).argmax()]]
    height, width = mask.shape
    columns = points[:, 0].astype(int).clip(0, width - 1)
    rows = points[:, 1].astype(int).clip(0, height - 1)
    return float(mask[rows, columns].mean())


def summarised(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average every number over the phrases that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {
        name: float(np.mean([row[name] for row in rows if name in row])) for name in sorted(names)
    }
    return found | {"phrases": len(rows)}
