"""RandAugment: two random operations of one strength on each image.

The only file that knows albumentations. It lends its pixel functions, which draw no random numbers:
its pipelines repeat theirs in every worker and epoch, and cost five times the operation itself.
"""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for news

from albumentations.augmentations.pixel import functional

Image: TypeAlias = UInt8[np.ndarray, "row column channel"]
Fill: TypeAlias = tuple[int, ...]
Operation: TypeAlias = Callable[[Image, float, Fill], Image]
"""Takes the strength in [-1, 1], whose sign turns directions and factors around."""


def randaugment(image: Image, magnitude: int, fill: Fill, draws: Sequence[float]) -> Image:
    """Apply two operations that four numbers in [0, 1) choose: operation, sign, operation, sign.

    `magnitude` is in [0, 10]; `fill` is the colour that moves in from outside.
    Cubuk, Zoph, Shlens, Le 2020 (arXiv:1909.13719); strengths at 10 as in AutoAugment.
    """
    for choice, sign in (draws[:2], draws[2:]):
        operation = OPERATIONS[int(choice * len(OPERATIONS))]
        strength = magnitude / 10 if sign < 0.5 else -magnitude / 10
        image = operation(np.ascontiguousarray(image), strength, fill).reshape(image.shape)
    return image


def identity(image: Image, strength: float, fill: Fill) -> Image:
    """Leave the image alone."""
    return image


def auto_contrast(image: Image, strength: float, fill: Fill) -> Image:
    """Stretch each channel to [0, 255]."""
    return functional.auto_contrast(image, cutoff=0, ignore=None, method="pil")


def equalize(image: Image, strength: float, fill: Fill) -> Image:
    """Flatten the histogram of each channel."""
    return functional.equalize(image, mode="cv")


def solarize(image: Image, strength: float, fill: Fill) -> Image:
    """Invert pixels above a threshold, 255 down to 0."""
    return functional.solarize(image, 1 - abs(strength))


def posterize(image: Image, strength: float, fill: Fill) -> Image:
    """Keep the upper 8 down to 4 bits."""
    bits = 8 - round(4 * abs(strength))
    return image if bits == 8 else functional.posterize(image, bits)


def brightness(image: Image, strength: float, fill: Fill) -> Image:
    """Multiply pixels by 0.1 to 1.9."""
    return functional.adjust_brightness_torchvision(image, 1 + 0.9 * strength)


def contrast(image: Image, strength: float, fill: Fill) -> Image:
    """Scale the distance of pixels from the mean grey by 0.1 to 1.9."""
    return functional.adjust_contrast_torchvision(image, 1 + 0.9 * strength)


def saturation(image: Image, strength: float, fill: Fill) -> Image:
    """Scale the distance of colours from their grey by 0.1 to 1.9."""
    return functional.adjust_saturation_torchvision(image, 1 + 0.9 * strength)


def sharpness(image: Image, strength: float, fill: Fill) -> Image:
    """Scale the difference from a smoothed image by 0.1 (blurs) to 1.9 (sharpens)."""
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13
    smooth = cv2.filter2D(image, -1, kernel).reshape(image.shape)
    factor = 1 + 0.9 * strength
    return cv2.addWeighted(image, factor, smooth, 1 - factor, 0)


def affine(
    image: Image,
    strength: float,
    fill: Fill,
    *,
    degrees: float = 0,
    shear: tuple[float, float] = (0, 0),
    shift: tuple[float, float] = (0, 0),
) -> Image:
    """Rotate, shear and shift about the centre, by tangents and by shares of a side, (x, y)."""
    height, width = image.shape[:2]
    angle = math.radians(degrees * strength)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, sine + shear[0] * strength], [shear[1] * strength - sine, cosine]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moved = centre - turn @ centre + np.array(shift) * strength * (width, height)
    matrix = np.column_stack([turn, moved])
    return cv2.warpAffine(image, matrix, (width, height), borderValue=fill)


OPERATIONS: tuple[Operation, ...] = (
    identity,
    auto_contrast,
    equalize,
    solarize,
    posterize,
    brightness,
    contrast,
    saturation,
    sharpness,
    partial(affine, degrees=30),
    partial(affine, shear=(0.3, 0)),
    partial(affine, shear=(0, 0.3)),
    partial(affine, shift=(0.45, 0)),
    partial(affine, shift=(0, 0.45)),
)
