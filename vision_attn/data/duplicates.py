"""Images that are in two splits at once: the same file, or one that looks alike."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8, UInt64

from vision_attn.data.files import Stored
from vision_attn.data.splits import SPLITS, Indices, SplitName
from vision_attn.data.transforms import Image

BITS = 6
"""Bits of 64 in which the hashes of two images that look alike differ at most."""
LIKENESS = 0.98
"""Correlation of their small copies at least."""
SMALL = 16
"""Pixels a side of these copies."""
ROWS = 1_000
"""Images of one split that are held against the other split at a time."""
PAIRS = 20_000
"""Pairs that the hashes find and the copies confirm at a time."""


def shared_files(
    files: Sequence[Stored],
    digests: UInt64[np.ndarray, " file"],
    parts: Mapping[SplitName, Indices],
) -> list[str]:
    """Say how many files of one split are in another too, byte for byte, or that nobody looked."""
    if not len(digests):
        return [
            "data: files are read when their turn comes; `vision-attn data` finds those that are "
            "unusable or in two splits, and so does data.check=always before the training"
        ]
    said = []
    for first, second in combinations(parts, 2):
        common = np.isin(digests[parts[second]], digests[parts[first]])
        if common.any():
            found = files[parts[second][common][0]]
            said.append(
                f"data: {common.sum():,} of {len(common):,} {SPLITS[second]} images are "
                f"{SPLITS[first]} images too, byte for byte, such as {found}; `vision-attn data` "
                f"lists them all"
            )
    return said


class Prints(NamedTuple):
    """What is kept of the images of a split, to recognise them."""

    digests: UInt64[np.ndarray, " image"]
    """Of the file, or of the pixels."""
    hashes: UInt64[np.ndarray, " image"]
    copies: UInt8[np.ndarray, "image small"]
    """Small grey copies, a row an image."""


class Twins(NamedTuple):
    """Two images of different splits that are one."""

    kind: Literal["same file", "looks alike"]
    first: int
    second: int
    """Where in their splits they are."""


def print_of(image: Image) -> tuple[int, UInt8[np.ndarray, " small"]]:
    """Give the perceptual hash of an image, and a small grey copy.

    Bits tell which of the 64 slowest waves of a 32x32 grey copy are stronger than their median,
    which neither size nor compression changes much. Zauner 2010, "Implementation and benchmarking
    of perceptual image hash functions".
    """
    grey = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    waves = cv2.dct(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))
    slow = waves[:8, :8].ravel()
    bits = np.packbits(slow > np.median(slow[1:]))  # the first is the mean brightness
    copy = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return int.from_bytes(bits.tobytes(), "little"), copy.ravel()


def twins(first: Prints, second: Prints) -> Iterator[Twins]:
    """Find the images of one split that are in another: by content, then by looks."""
    for start in range(0, len(first.hashes), ROWS):
        rows = slice(start, start + ROWS)
        same = first.digests[rows, None] == second.digests
        near = np.bitwise_count(first.hashes[rows, None] ^ second.hashes) <= BITS
        pairs = np.argwhere(same | near)
        same = same[tuple(pairs.T)]
        alike = same | _alike(first.copies[rows], second.copies, pairs)
        for (row, place), exact in zip(pairs[alike].tolist(), same[alike], strict=True):
            yield Twins("same file" if exact else "looks alike", start + row, place)


def _alike(
    first: UInt8[np.ndarray, "image small"],
    second: UInt8[np.ndarray, "image small"],
    pairs: Int64[np.ndarray, "pair two"],
) -> Bool[np.ndarray, " pair"]:
    """Confirm what the hashes say: blank and simple images share one by chance."""
    found = [np.zeros(0, bool)]
    for start in range(0, len(pairs), PAIRS):
        rows, places = pairs[start : start + PAIRS].T
        products = (_standard(first[rows]) * _standard(second[places])).sum(1)
        found.append(products >= LIKENESS)
    return np.concatenate(found)


def _standard(copies: UInt8[np.ndarray, "pair small"]) -> Float[np.ndarray, "pair small"]:
    """Bring copies to mean 0 and length 1; blank ones to a constant, so that they are alike."""
    centred = copies - copies.mean(1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.where(lengths > 0, centred / np.maximum(lengths, 1e-9), 1 / SMALL)
