"""Where the objects of photographs are, read from annotations in the format of COCO."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from vision_attn.data.transforms import fit
from vision_attn.report.digest import of_bytes
from vision_attn.spec import Spec

Drawing: TypeAlias = UInt8[np.ndarray, "height width"]


class Objects:
    """Masks of images by file name: all objects together, whatever their category.

    An annotation is a polygon, a run-length code (plain or compressed) or else a box. Raises
    ValueError for a file that is not in this format.

    Lin 2014 (arXiv:1405.0312); the format is that of the COCO API.
    """

    def __init__(self, path: Path):
        content = path.read_bytes()
        self.path, self.hash = path, of_bytes(content)
        try:
            entries = json.loads(content)
            self._images = {Path(image["file_name"]).name: image for image in entries["images"]}
            if len(self._images) < len(entries["images"]):
                raise ValueError("two images have the same file name")
            self._found: dict[Any, list[dict[str, Any]]] = {}
            for annotation in entries["annotations"]:
                self._found.setdefault(annotation["image_id"], []).append(annotation)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} must hold images and annotations in the format of COCO, got "
                f"{type(error).__name__}: {error}"
            ) from error

    def mask(self, name: str, size: tuple[int, int], spec: Spec) -> Bool[Tensor, "height width"]:
        """Draw the objects of a file, resized and cropped as its image is.

        `size` is that of the decoded image, perhaps reduced. Raises ValueError if no object of it
        is listed or seen, and if the file lists it with other proportions.
        """
        image = self._images.get(name)
        found = self._found.get(image["id"], []) if image else []
        if not image or not found:
            raise ValueError(f"{self.path} lists no object in it")
        height, width = image["height"], image["width"]
        if abs(height * size[1] - width * size[0]) > max(height, width, *size):
            raise ValueError(
                f"{self.path} lists it with {height}x{width} pixels, but it has the proportions of "
                f"{size[0]}x{size[1]}"
            )
        drawing = np.zeros((height, width), np.uint8)
        for annotation in found:
            drawing |= _drawn(annotation, (height, width))
        drawing = cv2.resize(drawing, size[::-1], interpolation=cv2.INTER_NEAREST)
        cropped = fit(drawing[:, :, None], replace(spec, interpolation="nearest"))[:, :, 0]
        if not cropped.any():
            raise ValueError(f"no object that {self.path} lists is seen in the central crop")
        return torch.from_numpy(cropped > 0)


def _drawn(annotation: dict[str, Any], size: tuple[int, int]) -> Drawing:
    form = annotation.get("segmentation")
    if isinstance(form, dict):
        return run_lengths(form)
    drawing = np.zeros(size, np.uint8)
    left, top, width, height = annotation["bbox"]
    box = [left, top, left + width, top, left + width, top + height, left, top + height]
    for corners in form or [box]:
        drawing |= polygon(np.reshape(corners, (-1, 2)), size)
    return drawing


def polygon(corners: Float[np.ndarray, "corner xy"], size: tuple[int, int]) -> Drawing:
    """Fill a polygon: a pixel belongs to it if its centre does, by the even-odd rule."""
    centres = np.arange(size[0]) + 0.5
    crossings = np.zeros((size[0], size[1] + 1), int)
    for (x, y), (to_x, to_y) in zip(corners, np.roll(corners, -1, 0), strict=True):
        rows = np.flatnonzero((centres >= min(y, to_y)) & (centres < max(y, to_y)))
        if len(rows):
            across = x + (centres[rows] - y) * (to_x - x) / (to_y - y)
            first = np.ceil(across - 0.5).clip(0, size[1]).astype(int)  # centre not left of it
            crossings[rows, first] += 1
    return (crossings.cumsum(1)[:, :-1] % 2).astype(np.uint8)


def run_lengths(code: dict[str, Any]) -> Drawing:
    """Draw runs of pixels outside and inside by turns, column by column."""
    height, width = code["size"]
    counts = code["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    if sum(runs) != height * width:
        raise ValueError(f"a run-length code must cover {height}x{width} pixels, got {sum(runs)}")
    inside = np.arange(len(runs)) % 2
    return inside.repeat(runs).astype(np.uint8).reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """Read the counts of a compressed code: from the fourth on, differences to the last but one."""
    runs: list[int] = []
    for number in _numbers(text):
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    return runs


def _numbers(text: str) -> Iterator[int]:
    """Read whole numbers of 5 bits a letter, lowest first.

    A sixth bit says that more letters follow; the fifth bit of the last letter is the sign.
    """
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            yield value - (1 << shift if bits & 16 else 0)
            value = shift = 0
