"""Whether the network uses what a map marks: scores while marked pixels go or come."""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.maps import image_size
from vision_attn.explain.steps import Pair, probability, readings

Fill: TypeAlias = Callable[[Images], Images]
"""What stands where nothing is to be seen: images without the object's evidence."""


def mean_colour(images: Images) -> Images:
    """Paint each image in its own mean colour."""
    return images.mean((2, 3), keepdim=True).expand_as(images)


def blurred(images: Images, *, share: float = 0.05) -> Images:
    """Blur images with a Gaussian whose standard deviation is a share of the shorter side."""
    deviation = share * min(image_size(images))
    radius = min(int(3 * deviation + 0.5), min(image_size(images)) - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * deviation**2))
    kernel = (kernel / kernel.sum()).to(images.dtype)
    planes = F.pad(images.flatten(0, 1).unsqueeze(1), (radius,) * 4, mode="reflect")
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return planes.view_as(images)


def deletion(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    fill: Fill = mean_colour,
    steps: int = 16,
    batch_size: int = 64,
) -> Float[Tensor, " batch"]:
    """Average the target's probability while pixels are filled in, highest first; lower is better.

    Petsiuk 2018, section 4.1 (arXiv:1806.07421).
    """
    return area(
        exchange_curve(model, images, targets, maps, images, fill(images), steps, batch_size)
    )


def insertion(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    fill: Fill = blurred,
    steps: int = 16,
    batch_size: int = 64,
) -> Float[Tensor, " batch"]:
    """Average the target's probability while a blurred image gets its pixels back, highest first.

    Higher is better. Petsiuk 2018, section 4.1 (arXiv:1806.07421).
    """
    return area(
        exchange_curve(model, images, targets, maps, fill(images), images, steps, batch_size)
    )


def exchange_curve(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    before: Images,
    after: Images,
    steps: int,
    batch_size: int,
) -> Float[Tensor, "batch step"]:
    """Follow the target's probability from `before` to `after`, pixels changing highest first.

    At step s of 0 ... steps the share s / steps of the pixels, with all their channels, is
    exchanged.
    """
    check_maps(images, maps)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    ranks = rank(maps)
    pixels = ranks[0].numel()

    def variant(image: Pair, step: Pair) -> Images:
        exchanged = ranks[image] * steps < step.view(-1, 1, 1) * pixels
        return torch.where(exchanged[:, None], after[image], before[image])

    return readings(
        model,
        images,
        targets,
        variant,
        steps=steps + 1,
        batch_size=batch_size,
        read=probability,
    ).T


def rank(maps: Maps) -> Int[Tensor, "batch height width"]:
    """Number each map's pixels from the highest, 0; ties fall in one scattered order.

    The order of ties is the same for every image, and not that of reading, which would favour the
    top of the image.
    """
    flat = maps.flatten(1)
    generator = torch.Generator().manual_seed(0)
    scattered = torch.randperm(flat.shape[1], generator=generator).to(maps.device)
    order = scattered[flat[:, scattered].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def area(curve: Float[Tensor, "batch step"]) -> Float[Tensor, " batch"]:
    """Integrate curves over the share of pixels, 0 to 1, by the trapezoidal rule."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


def check_maps(images: Images, maps: Maps) -> None:
    """Raise ValueError unless there is one map of the size of the image for each image."""
    expected = (len(images), *image_size(images))
    if maps.shape != expected:
        raise ValueError(f"maps must have shape {expected}, got {tuple(maps.shape)}")
