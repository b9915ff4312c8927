"""How feature maps are weighted: the formulas of the CAM family, from activation and gradient.

Gradients may have axes before those of the activation: several classes are weighed at once.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Features: TypeAlias = Float[Tensor, "batch channel row column"]
Grids: TypeAlias = Float[Tensor, "batch row column"]
Gradients: TypeAlias = Float[Tensor, "*class batch channel row column"]
ClassGrids: TypeAlias = Float[Tensor, "*class batch row column"]
Weigh: TypeAlias = Callable[[Features, Gradients], ClassGrids]
"""From the layer's activation and the scores' gradients there to one grid an image and class."""


def by_mean_gradient(activation: Features, gradient: Gradients) -> ClassGrids:
    """Weigh as Grad-CAM does."""
    return weighted(activation, gradient.mean((-2, -1))).relu()


def by_alpha(activation: Features, gradient: Gradients) -> ClassGrids:
    """Weigh as Grad-CAM++ does for the score's exponential, whose factor exp(score) is left out."""
    square = gradient.square()
    denominator = 2 * square + activation.sum((-2, -1), keepdim=True) * square * gradient
    alpha = torch.where(denominator == 0, 0.0, square / denominator)
    weights = (alpha * gradient.relu()).sum((-2, -1))
    return weighted(activation, weights).relu()


def by_gradient(activation: Features, gradient: Gradients) -> ClassGrids:
    """Weigh as HiResCAM does."""
    return (activation * gradient).sum(-3)


def by_positive_gradient(activation: Features, gradient: Gradients) -> ClassGrids:
    """Weigh as LayerCAM does."""
    return (activation * gradient.relu()).sum(-3).relu()


def by_share_of_activation(activation: Features, gradient: Gradients) -> ClassGrids:
    """Weigh as XGrad-CAM does; a channel that sums to 0 has no weight."""
    total = activation.sum((-2, -1))
    taken = (activation * gradient).sum((-2, -1))
    weights = torch.where(total == 0, 0.0, taken / total)
    return weighted(activation, weights)


def weighted(activation: Features, weights: Float[Tensor, "*class batch channel"]) -> ClassGrids:
    """Sum the channels, each with its weight."""
    return torch.einsum("bcij,...bc->...bij", activation, weights)


def principal_component(features: Features) -> Grids:
    """Project centred features onto their first principal axis, with its sign fixed."""
    points = features.flatten(2).transpose(1, 2)
    points = points - points.mean(1, keepdim=True)
    positions, channels = points.shape[1:]
    if positions <= channels:  # the smaller Gram matrix has the same leading eigenvalue
        values, vectors = torch.linalg.eigh(points @ points.mT)
        projection = vectors[:, :, -1] * values[:, -1:].clamp_min(0).sqrt()
    else:
        vectors = torch.linalg.eigh(points.mT @ points).eigenvectors
        projection = (points @ vectors[:, :, -1:])[:, :, 0]
    flipped = _agreement(projection, points)[:, None] < 0
    return torch.where(flipped, -projection, projection).unflatten(1, features.shape[2:])


def _agreement(
    projection: Float[Tensor, "batch position"], points: Float[Tensor, "batch position channel"]
) -> Float[Tensor, " batch"]:
    # After a layer norm the sum over channels is the same everywhere, and what is left of it is
    # rounding. Then the few positions that stand out, by the third moment, count as positive.
    total = points.sum(-1)
    tells = total.norm(dim=1) > 0.01 * points.flatten(1).norm(dim=1)
    return torch.where(tells, (projection * total).sum(1), projection.pow(3).sum(1))
