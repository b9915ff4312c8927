"""Mixtures of two images and of their targets: mixup and cutmix."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Images = Float[Tensor, "batch channel height width"]
Targets = Float[Tensor, "batch output"]
Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels; bottom and right are outside."""


def mix(images: Images, targets: Targets, mixup: float, cutmix: float) -> tuple[Images, Targets]:
    """Mix a batch with a permutation of itself; the two numbers are Beta parameters, 0 is off.

    With both on, each batch flips a coin. The share is one number a batch. Draws come from torch's
    global generator, on the CPU whatever the device.
    """
    if not (mixup or cutmix):
        return images, targets
    cuts = cutmix > 0 and (mixup == 0 or torch.rand(()).item() < 0.5)
    alpha = torch.tensor(cutmix if cuts else mixup)
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    partner = torch.randperm(len(images)).to(images.device)
    if not cuts:
        return blend(images, targets, partner, share)
    height, width = images.shape[-2:]
    return paste(images, targets, partner, draw_box(height, width, 1 - share))


def blend(
    images: Images, targets: Targets, partner: Int[Tensor, " batch"], share: float
) -> tuple[Images, Targets]:
    """Keep `share` of every image and target, and take the rest from its partner (mixup).

    Zhang 2018, section 2 (arXiv:1710.09412).
    """
    return (
        share * images + (1 - share) * images[partner],
        share * targets + (1 - share) * targets[partner],
    )


def paste(
    images: Images, targets: Targets, partner: Int[Tensor, " batch"], box: Box
) -> tuple[Images, Targets]:
    """Paste a box of its partner into every image; targets mix by area (cutmix).

    Yun 2019, equation 1 (arXiv:1905.04899).
    """
    top, bottom, left, right = box
    height, width = images.shape[-2:]
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partner][..., top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, share * targets + (1 - share) * targets[partner]


def draw_box(height: int, width: int, area: float) -> Box:
    """Draw a box of the image's aspect ratio and an area share, clipped where it leaves the image.

    Yun 2019, equation 2 (arXiv:1905.04899).
    """
    spans = []
    for size in (height, width):
        centre = int(torch.randint(size, ()))
        length = round(size * area**0.5)
        start = centre - length // 2
        spans += [max(start, 0), min(start + length, size)]
    top, bottom, left, right = spans
    return top, bottom, left, right
