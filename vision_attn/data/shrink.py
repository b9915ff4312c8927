"""Shrinking by averages of areas, for no more than the part of an image that is kept."""

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8
from scipy.sparse import csr_array

Image: TypeAlias = UInt8[np.ndarray, "row column channel"]

SLIVER = 1e-3
"""Share of a pixel that OpenCV leaves out of an average."""


class Shares(NamedTuple):
    """Say what every kept row or column takes from those of the image."""

    source: slice
    """Rows or columns of the image that are needed at all."""
    weights: csr_array
    """(kept, needed)."""


def averaged(image: Image, size: tuple[int, int], rows: slice, columns: slice) -> Image:
    """Shrink an image to (rows, columns) and keep some of them, as `cv2.INTER_AREA` would.

    It averages one direction after the other in single precision, so that one value in a hundred
    thousand may be rounded to the other side.
    """
    down = shares(image.shape[0], size[0], rows.start, rows.stop)
    right = shares(image.shape[1], size[1], columns.start, columns.stop)
    part = image[down.source, right.source].astype(np.float32)
    height, width, channels = len(down.weights.indptr) - 1, part.shape[1], part.shape[2]
    flat = down.weights @ part.reshape(len(part), -1)
    turned = cv2.transpose(flat.reshape(height, width, channels))
    flat = right.weights @ turned.reshape(width, -1)
    pixels = cv2.convertScaleAbs(flat).reshape(-1, height, channels)
    return cv2.transpose(pixels).reshape(height, -1, channels)  # a single channel was dropped


@lru_cache(maxsize=256)
def shares(length: int, size: int, start: int, stop: int) -> Shares:
    """Share out `length` pixels in a row among `size` equally long ones, for those kept."""
    scale = length / size
    edges = np.arange(start, stop + 1) * scale
    first, most = edges[:-1].astype(int), int(scale) + 2
    places = first[:, None] + np.arange(most)
    ends = np.minimum(places + 1, edges[1:, None]) - np.maximum(places, edges[:-1, None])
    taken = (ends > SLIVER) & (places < length)
    counts = np.concatenate([[0], taken.sum(1).cumsum()])
    needed = slice(int(places[taken].min()), int(places[taken].max()) + 1)
    values = (ends[taken] / scale).astype(np.float32)
    shape = stop - start, needed.stop - needed.start
    return Shares(needed, csr_array((values, places[taken] - needed.start, counts), shape=shape))
