"""From stored pixels to what a model reads: fitting, random changes, normalisation."""

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import TypeAlias

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vision_attn.data.batch import Key
from vision_attn.data.chance import uniforms
from vision_attn.data.config import AugmentConfig
from vision_attn.data.shrink import Image, averaged
from vision_attn.spec import Spec

cv2.setNumThreads(0)  # its threads do not survive the fork that starts a worker

Images: TypeAlias = UInt8[Tensor, "batch row column channel"] | Sequence[Image]
"""Equally sized images as one tensor, or images of any size."""

INTERPOLATIONS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "nearest": cv2.INTER_NEAREST,
}
CROP_RATIO = 4 / 3
"""Most elongated random crop, longer over shorter side (Szegedy 2015, arXiv:1409.4842)."""
ERASE_AREA, ERASE_RATIO = (0.02, 1 / 3), 3.3
"""Share of the image and most elongated form of an erased rectangle (Zhong 2020)."""


class Draw(IntEnum):
    """Say what each random number of a sample decides."""

    FLIP = 0
    SHIFT_Y = 1
    SHIFT_X = 2
    CROP_AREA = 3
    CROP_RATIO = 4
    CROP_Y = 5
    CROP_X = 6
    ERASE = 7
    ERASE_AREA = 8
    ERASE_RATIO = 9
    ERASE_Y = 10
    ERASE_X = 11
    RANDAUGMENT = 12  # and 13 to 15


def evaluate_batch(images: Images, spec: Spec) -> Float[Tensor, "batch channel row column"]:
    """Fit and normalise images, without any chance."""
    return normalise(fit_batch(images, spec), spec)


def augment_batch(
    images: Images, keys: Sequence[Key], config: AugmentConfig, seed: int, spec: Spec
) -> Float[Tensor, "batch channel row column"]:
    """Change training images at random and normalise them.

    What happens to a sample depends on (seed, epoch, index) alone, never on the rest of its batch.
    """
    draws = uniforms(seed, keys, len(Draw) + 3).tolist()
    if config.crop_scale is None:
        images = fit_batch(images, spec)
    arrays = images.numpy() if isinstance(images, Tensor) else images
    pairs = zip(arrays, draws, strict=True)
    batch = normalise(_stacked([_changed(*pair, config, spec) for pair in pairs]), spec)
    for number, draw in enumerate(draws):
        if draw[Draw.ERASE] < config.erase:
            rows, columns = _erased(draw, spec)
            batch[number, :, rows, columns] = 0  # the mean colour
    return batch


def normalise(
    images: UInt8[Tensor, "batch row column channel"], spec: Spec
) -> Float[Tensor, "batch channel row column"]:
    """Map pixels to (pixel / 255 - mean) / std and put channels first."""
    shape = len(images), *images.shape[3:], *images.shape[1:3]
    batch = torch.empty(shape, device=images.device)
    batch.copy_(images.permute(0, 3, 1, 2))
    mean, std = (torch.tensor(x, dtype=torch.float64).view(-1, 1, 1) for x in (spec.mean, spec.std))
    least, scale = ((x.float().to(batch.device)) for x in (-mean / std, 1 / (255 * std)))
    return torch.addcmul(least, batch, scale, out=batch)


def fit_batch(images: Images, spec: Spec) -> UInt8[Tensor, "batch row column channel"]:
    """Bring images to the size of the specification as in evaluation; a tensor has it already."""
    if not isinstance(images, Tensor):
        return _stacked([fit(image, spec) for image in images])
    if tuple(images.shape[1:3]) != spec.image_size:
        raise ValueError(
            f"a tensor of images must have image_size={spec.image_size}, got {tuple(images.shape)}"
        )
    return images


def fit(image: Image, spec: Spec) -> Image:
    """Resize an image until it covers image_size / crop, then keep the centre."""
    (height, width), (rows, columns) = image.shape[:2], spec.image_size
    scale = max(rows / height, columns / width) / spec.crop
    size = max(rows, round(height * scale)), max(columns, round(width * scale))
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    kept = slice(top, top + rows), slice(left, left + columns)
    if _averages(image, size, spec) and (height % size[0] or width % size[1]):
        return averaged(image, size, *kept)
    return _resized(image, size, spec)[kept]  # OpenCV is faster by a whole factor


def _stacked(images: Sequence[Image]) -> UInt8[Tensor, "batch row column channel"]:
    """Copy equally sized images into one tensor."""
    return torch.from_numpy(np.stack(images))


def _resized(image: Image, size: tuple[int, int], spec: Spec) -> Image:
    """Resize to (rows, columns); to shrink is to average areas, but for `nearest`."""
    if image.shape[:2] == size:
        return image
    method = INTERPOLATIONS[spec.interpolation]
    if _averages(image, size, spec):
        method = cv2.INTER_AREA
    resized = cv2.resize(image, size[::-1], interpolation=method)
    return resized.reshape(*size, -1)  # a single channel was dropped


def _averages(image: Image, size: tuple[int, int], spec: Spec) -> bool:
    smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
    return smaller and spec.interpolation != "nearest"


def _changed(image: Image, draw: Sequence[float], config: AugmentConfig, spec: Spec) -> Image:
    """Apply the changes that work on pixels to one image."""
    if config.crop_scale is not None:
        rows, columns = _rectangle(
            image.shape[:2],
            config.crop_scale + (1 - config.crop_scale) * draw[Draw.CROP_AREA],
            CROP_RATIO ** (2 * draw[Draw.CROP_RATIO] - 1),
            draw[Draw.CROP_Y],
            draw[Draw.CROP_X],
        )
        image = _resized(image[rows, columns], spec.image_size, spec)
    if config.shift:
        image = _shifted(image, draw[Draw.SHIFT_Y], draw[Draw.SHIFT_X], config.shift)
    if config.flip and draw[Draw.FLIP] < 0.5:
        image = image[:, ::-1]
    if config.randaugment:
        from vision_attn.data.randaugment import randaugment  # two seconds of imports

        fill = tuple(round(255 * mean) for mean in spec.mean)
        image = randaugment(image, config.randaugment, fill, draw[Draw.RANDAUGMENT :])
    return image


def _shifted(image: Image, y: float, x: float, most: int) -> Image:
    """Pad by reflection, without repeating the border, and cut a window of the old size."""
    height, width, channels = image.shape
    if most >= min(height, width):
        raise ValueError(
            f"shift must be smaller than the image, got shift={most} for {height}x{width} pixels"
        )
    top, left = int(y * (2 * most + 1)), int(x * (2 * most + 1))
    padded = cv2.copyMakeBorder(image, most, most, most, most, cv2.BORDER_REFLECT_101)
    padded = padded.reshape(height + 2 * most, width + 2 * most, channels)
    return padded[top : top + height, left : left + width]


def _erased(draw: Sequence[float], spec: Spec) -> tuple[slice, slice]:
    """Choose the rectangle of random erasing: Zhong 2020 (arXiv:1708.04896)."""
    low, high = ERASE_AREA
    return _rectangle(
        spec.image_size,
        low + (high - low) * draw[Draw.ERASE_AREA],
        ERASE_RATIO ** (2 * draw[Draw.ERASE_RATIO] - 1),
        draw[Draw.ERASE_Y],
        draw[Draw.ERASE_X],
    )


def _rectangle(
    size: tuple[int, int], area: float, ratio: float, y: float, x: float
) -> tuple[slice, slice]:
    """Give the rows and columns of a rectangle: share of the area, width / height, place in [0, 1).

    One too long for the image is clipped, where the papers draw again.
    """
    height, width = size
    rows = min(height, max(1, round(math.sqrt(height * width * area / ratio))))
    columns = min(width, max(1, round(math.sqrt(height * width * area * ratio))))
    top, left = int(y * (height - rows + 1)), int(x * (width - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)
