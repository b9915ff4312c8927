"""Gradients of a score with respect to the pixels: plain, averaged, and for every class at once."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.maps import at_least_float32
from vision_attn.explain.steps import Pair, Variant, draw, pairs
from vision_attn.explain.targets import check, score


def input_gradient(model: Explainable, images: Images, targets: Targets) -> Images:
    """Differentiate the target's logit of each image with respect to that image's pixels."""
    check(model, images, targets)
    with explained(model):
        return _gradient(model, images.clone(), targets)


def saliency(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Take the largest absolute gradient over the channels of every pixel.

    Simonyan 2014, section 3.1 (arXiv:1312.6034).
    """
    return input_gradient(model, images, targets).abs().amax(1)


def input_x_gradient(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Multiply pixels by their gradients and sum over channels; signed.

    Shrikumar 2016 (arXiv:1605.01713).
    """
    return (input_gradient(model, images, targets) * images.detach()).sum(1)


def smoothgrad(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    samples: int = 32,
    noise: float = 0.15,
    seed: int = 0,
    batch_size: int = 32,
) -> Maps:
    """Average the gradient over noisy copies of the image, then reduce it as saliency does.

    `noise` is the standard deviation as a share of each image's range of values. Sample s adds the
    same noise to every image, a function of (seed, s) alone. Costs a forward and an input-backward
    pass a sample.

    Smilkov 2017, section 3 (arXiv:1706.03825).
    """
    images = images.detach()
    low, high = images.flatten(1).aminmax(dim=1)
    spread = (noise * (high - low)).view(-1, 1, 1, 1)

    def normal(generator: np.random.Generator) -> np.ndarray:
        return generator.standard_normal(images.shape[1:], dtype=np.float32)

    def noisy(image: Pair, step: Pair) -> Images:
        return images[image] + spread[image] * draw(normal, seed, step, images.device).to(images)

    weights = np.ones(samples) / samples
    return _mean_gradient(model, images, targets, noisy, weights, batch_size).abs().amax(1)


def integrated_gradients(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    baseline: float | Tensor = 0.0,
    steps: int = 32,
    batch_size: int = 32,
) -> Maps:
    """Integrate the gradient along the line from a baseline, times the way gone; signed.

    `baseline` is a value or anything that broadcasts to `images`; 0 is the mean colour of
    normalised images. Each map sums to the logit of the image minus that of its baseline, up to
    the error of Gauss-Legendre quadrature with `steps` nodes. Costs a forward and an input-backward
    pass a step.

    Sundararajan 2017, equation 1 (arXiv:1703.01365).
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    to_go = torch.from_numpy((1 - nodes) / 2).to(images).view(-1, 1, 1, 1)
    images = images.detach()
    way = images - baseline

    def between(image: Pair, step: Pair) -> Images:
        return images[image] - to_go[step] * way[image]

    mean = _mean_gradient(model, images, targets, between, weights / 2, batch_size)
    return (mean * way).sum(1)


def jacobian(
    model: Explainable, images: Images, *, outputs: Sequence[int] | None = None
) -> Float[Tensor, "batch output channel height width"]:
    """Differentiate every output, or those listed, with respect to every pixel of its image.

    Costs one forward pass, and an input-backward pass an output.
    """
    with explained(model):
        leaf = images.detach().clone().requires_grad_()
        logits = model(leaf)
        asked = torch.tensor(range(logits.shape[1]) if outputs is None else outputs)
        sums = [score(logits, target.expand(len(images))).sum() for target in asked]
        rows = [torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in sums]
    return at_least_float32(torch.stack(rows, 1))


def class_maps(
    jacobian: Float[Tensor, "batch output channel height width"],
) -> Float[Tensor, "batch output height width"]:
    """Sum over channels: how each output changes as a pixel gets brighter; signed."""
    return jacobian.sum(2)


def jacobian_map(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Give the target's own map among the `class_maps` of the Jacobian, without the others."""
    return input_gradient(model, images, targets).sum(1)


def _mean_gradient(
    model: Explainable,
    images: Images,
    targets: Targets,
    variant: Variant,
    weights: np.ndarray,
    batch_size: int,
) -> Images:
    check(model, images, targets)
    with explained(model):
        total = at_least_float32(torch.zeros_like(images))
        scales = torch.from_numpy(weights).to(total).view(-1, 1, 1, 1)
        for image, step in pairs(images, len(weights), batch_size):
            gradient = _gradient(model, variant(image, step), targets[image.to(targets.device)])
            total.index_add_(0, image, gradient * scales[step])
    return total


def _gradient(model: Explainable, inputs: Images, targets: Targets) -> Images:
    leaf = inputs.detach().requires_grad_()
    return at_least_float32(torch.autograd.grad(score(model(leaf), targets).sum(), leaf)[0])
