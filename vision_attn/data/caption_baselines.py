"""What captions score that cost nothing: one for all, a neighbour's by colour, another person's."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from vision_attn.language.bleu import SMALL, TINY, clipped
from vision_attn.language.cider import CiderD
from vision_attn.language.ngrams import LONGEST, ngrams
from vision_attn.language.scores import Scorer, scores

Words: TypeAlias = list[str]
BINS = 8
"""Levels of a colour channel that a histogram tells apart."""
MOST = 6_000
"""Training images that are searched at most, at even distances."""
CHUNK = 64


class Captions(Protocol):
    """A split of captioned images."""

    def __len__(self) -> int:
        """Count the images."""

    def images(self, indices: list[int]) -> UInt8[Tensor, "batch row column channel"]:
        """Give images as they are stored."""

    def references(self) -> list[list[Words]]:
        """Give the words of all captions of all images, in order."""


def free_rows(
    train: Captions, valid: Captions, meteor: Scorer | None = None
) -> dict[str, dict[str, float]]:
    """Score what needs no network on a split: the rows `constant`, `retrieval` and `human`.

    `human` holds the first caption of an image against the others, one reference less than the
    other rows have; images with a single caption are left out of it, and so may be the row.
    """
    chosen = _spread(len(train), MOST)
    all_known, references = train.references(), valid.references()
    known = [all_known[i] for i in chosen]
    constant = constant_caption(known)
    nearest = neighbours(histograms(train, chosen), histograms(valid, list(range(len(valid)))))
    cider = CiderD(known)
    retrieved = [typical(known[i], cider) for i in nearest]
    rows = {
        "constant": scores([constant] * len(references), references, meteor),
        "retrieval": scores(retrieved, references, meteor),
    }
    if several := [captions for captions in references if len(captions) > 1]:
        rows["human"] = scores([x[0] for x in several], [x[1:] for x in several], meteor)
    return rows


def constant_caption(references: Sequence[Sequence[Words]]) -> Words:
    """Choose one caption to say of every image.

    Of the 30 with the highest BLEU-4 it is the one with the highest CIDEr-D, on 300 images at even
    distances.
    """
    best = by_bleu(references)[:30]
    some = [references[i] for i in _spread(len(references), 300)]
    pairs = [(caption, captions) for caption in best for captions in some]
    each = CiderD(references).scores(*zip(*pairs, strict=True)).reshape(len(best), -1)
    return list(best[int(each.mean(1).argmax())])


def by_bleu(references: Sequence[Sequence[Words]]) -> list[tuple[str, ...]]:
    """Rank all captions by the BLEU-4 that each has when it is said of every image, best first."""
    images = len(references)
    shared: Counter[tuple[tuple, int]] = Counter()  # images that have a run so many times
    for captions in references:
        for counts in clipped(captions):
            shared.update((run, i) for run, n in counts.items() for i in range(1, n + 1))
    lengths = [[len(caption) for caption in captions] for captions in references]
    candidates: list[tuple[str, ...]] = sorted({tuple(x) for each in references for x in each})
    closest = {
        size: sum(min((abs(x - size), x) for x in each)[1] for each in lengths)
        for size in {len(caption) for caption in candidates}
    }

    def worth(caption: tuple[str, ...]) -> float:
        total = 0.0
        for counts in ngrams(caption):
            right = sum(shared[run, i] for run, n in counts.items() for i in range(1, n + 1))
            total += math.log((right + TINY) / (images * counts.total() + SMALL)) / LONGEST
        return total + min(0.0, 1 - closest[len(caption)] / (images * len(caption)))

    return sorted(candidates, key=worth, reverse=True)


def typical(captions: Sequence[Words], cider: CiderD) -> Words:
    """Choose the caption of an image that agrees best with all of its captions."""
    return captions[int(cider.scores(captions, [captions] * len(captions)).argmax())]


def neighbours(
    known: Float32[np.ndarray, "known bin"], asked: Float32[np.ndarray, "asked bin"]
) -> Int64[np.ndarray, " asked"]:
    """Find the known histogram most like each asked one, by the sum of sqrt(p q).

    Bhattacharyya 1943.
    """
    return (np.sqrt(asked) @ np.sqrt(known).T).argmax(1)


def histograms(split: Captions, indices: Sequence[int]) -> Float32[np.ndarray, "image bin"]:
    """Say which share of the pixels has each colour, for each quarter of each image."""
    starts = range(0, len(indices), CHUNK)
    batches = (split.images(list(indices[start : start + CHUNK])).numpy() for start in starts)
    return np.concatenate([_colours(images) for images in batches])


def _colours(images: UInt8[np.ndarray, "batch row column channel"]) -> Float32[np.ndarray, "_ _"]:
    middle, centre = images.shape[1] // 2, images.shape[2] // 2
    rows, columns = ((slice(None, x), slice(x, None)) for x in (middle, centre))
    quarters = [_histogram(images[:, row, column]) for row in rows for column in columns]
    return np.concatenate(quarters, axis=1)


def _histogram(images: UInt8[np.ndarray, "batch row column channel"]) -> Float32[np.ndarray, "_ _"]:
    count, channels = len(images), images.shape[-1]
    levels = (images.reshape(count, -1, channels).astype(np.int64) * BINS) >> 8
    codes = levels @ BINS ** np.arange(channels)
    size = BINS**channels
    places = codes + size * np.arange(count)[:, None]
    counts = np.bincount(places.ravel(), minlength=count * size).reshape(count, size)
    return (counts / codes.shape[1]).astype(np.float32)


def _spread(length: int, count: int) -> list[int]:
    """Give so many indices at even distances, or all there are."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).astype(int)).tolist()
