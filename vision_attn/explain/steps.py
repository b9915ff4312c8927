"""Many forward passes in few: every image at every step, a bounded number at a time."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.maps import at_least_float32
from vision_attn.explain.targets import check, score

Pair: TypeAlias = Int[Tensor, " pair"]
Variant: TypeAlias = Callable[[Pair, Pair], Images]
"""From the image and the step of each pair to the inputs: the images as they are at these steps."""


def pairs(images: Images, steps: int, batch_size: int) -> Iterator[tuple[Pair, Pair]]:
    """Go through all (image, step) pairs in chunks of at most `batch_size`, step by step."""
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size must be positive, got {steps} and {batch_size}")
    for pair in torch.arange(len(images) * steps, device=images.device).split(batch_size):
        yield pair % len(images), pair // len(images)


def readings(
    model: Explainable,
    images: Images,
    targets: Targets,
    variant: Variant,
    *,
    steps: int,
    batch_size: int,
    read: Callable[[Float[Tensor, "pair output"], Targets], Float[Tensor, " pair"]] = score,
) -> Float[Tensor, "step batch"]:
    """Read one number from the output for every image at every step, by default a target's logit.

    Costs as many forward passes as there are steps, in batches of `batch_size`.
    """
    check(model, images, targets)
    targets = targets.to(images.device)
    with explained(model), torch.no_grad():
        chunks = [
            read(at_least_float32(model(variant(image, step))), targets[image])
            for image, step in pairs(images, steps, batch_size)
        ]
    return torch.cat(chunks).view(steps, len(images))


def probability(logits: Float[Tensor, "batch output"], targets: Targets) -> Float[Tensor, " batch"]:
    """Give the softmax probability of each image's target."""
    return score(logits.softmax(-1), targets)


def whole(
    model: Explainable, images: Images, targets: Targets, batch_size: int
) -> Float[Tensor, " batch"]:
    """Read the target's logit of the images as they are."""
    return readings(
        model, images, targets, lambda image, _: images[image], steps=1, batch_size=batch_size
    )[0]


def draw(
    one: Callable[[np.random.Generator], np.ndarray], seed: int, step: Pair, device: torch.device
) -> Shaped[Tensor, "pair ..."]:
    """Draw an array for each step.

    What step s gets is a function of (seed, s) alone: neither the chunks nor the other images of a
    batch change it.
    """
    steps, pair = step.unique(return_inverse=True)
    arrays = [one(np.random.default_rng((seed, s))) for s in steps.tolist()]
    return torch.from_numpy(np.stack(arrays)).to(device)[pair]
