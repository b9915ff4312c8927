"""Attention weighted by the gradient of a score: class-specific explanations."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.behind import only_read
from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.fusing import Fuse, Heads, Square
from vision_attn.explain.looks import (
    Looks,
    Query,
    look_and_answer,
    row_map,
    starting_row,
)
from vision_attn.explain.maps import image_size
from vision_attn.explain.rollout import roll
from vision_attn.explain.slopes import FusingSlopes
from vision_attn.explain.targets import check, score
from vision_attn.explain.unreached import SkippingUnreached


def relevance(model: Explainable, images: Images, targets: Targets, *, query: Query = None) -> Maps:
    """Follow the target's relevance back through all layers, R <- R + mean_heads(relu(G * A)) R.

    A are the weights, G the gradient of the target's logit with respect to them. No map is
    negative.

    Chefer 2021, equations 5 and 6 (arXiv:2103.15679).
    """
    check(model, images, targets)
    with _differentiated(model, _positive) as fusing:
        logits, looks = _look(model, images, "relevance")
        weighted = _weighted(score(logits, targets), looks, fusing)
        with torch.no_grad():
            reading = next(weighted)[:, 0] if looks.reading else None
            row = starting_row(model, looks, image_size(images), query, reading)
            for layer in weighted:
                row = row + _through(row, layer)
            return row_map(model, row, image_size(images))


def gradient_rollout(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    residual: float = 0.5,
    query: Query = None,
) -> Maps:
    """Roll out relu(mean_heads(G * A)) instead of A: each layer with its own gradient.

    As in rollout, a layer's rows sum to 1 with the skip connection, weighted `residual`.

    Gildenblat 2020, "Exploring explainability for vision transformers", attention gradient rollout,
    whose code normalises columns.
    """
    check(model, images, targets)
    with _differentiated(model, _positive_mean) as fusing:
        logits, looks = _look(model, images, "gradient_rollout")
        weighted = _weighted(score(logits, targets), looks, fusing)
        with torch.no_grad():
            reading = next(weighted)[:, 0] if looks.reading else None
            row = starting_row(model, looks, image_size(images), query, reading)
            row = row / row.sum(-1, keepdim=True).clamp_min(torch.finfo(row.dtype).tiny)
            row = roll(row[:, None], weighted, residual)[:, 0]
            return row_map(model, row, image_size(images))


def attention_gradient(
    model: Explainable, images: Images, targets: Targets, *, query: Query = None
) -> Maps:
    """Multiply the last look before the head by its gradient: mean_heads(relu(G * A)).

    One layer alone, without the skip connections and earlier layers of `relevance`.

    Chefer 2021, equation 5 (arXiv:2103.15679).
    """
    check(model, images, targets)
    with _differentiated(model, _positive) as fusing:
        logits, looks = _look(model, images, "attention_gradient")
        looks = looks._replace(layers=looks.layers[-1:])
        weighted = _weighted(score(logits, targets), looks, fusing)
        with torch.no_grad():
            reading = next(weighted)[:, 0] if looks.reading else None
            row = starting_row(model, looks, image_size(images), query, reading)
            if query is not None or reading is None:
                row = _through(row, next(weighted))
            return row_map(model, row, image_size(images))


@contextmanager
def _differentiated(model: Explainable, fuse: Fuse) -> Iterator[FusingSlopes]:
    with explained(model), SkippingUnreached(), FusingSlopes(fuse) as fusing, only_read(model):
        yield fusing


def _look(model: Explainable, images: Images, method: str) -> tuple[Tensor, Looks]:
    # No weight takes a gradient, so the images must, for the graph to reach the first layer; a
    # copy of them, because those from inference mode never can.
    return look_and_answer(model, images.detach().clone().requires_grad_(), method)


def _weighted(
    scores: Float[Tensor, " batch"], looks: Looks, fusing: FusingSlopes
) -> Iterator[Square]:
    """Give G * A, heads fused, of the reading, if there is one, then of each layer, last first.

    One differentiation serves all layers; G = (dY/dO) Vᵀ needs no weights in the graph.
    """
    records = [*looks.layers, looks.reading] if looks.reading else looks.layers
    outputs = [record.output for record in records]
    gradients = torch.autograd.grad(scores.sum(), outputs, allow_unused=True)
    lost = [index for index, gradient in enumerate(gradients) if gradient is None]
    if lost:
        raise ValueError(
            f"the score does not depend on the recorded output of attention layers {lost} of "
            f"{len(records)}; records must hold the very tensors that the network goes on with"
        )
    pairs = zip(reversed(records), reversed(gradients), strict=True)
    return (fusing.slopes(record, gradient) for record, gradient in pairs)


def _positive(heads: Heads) -> Square:
    return heads.relu().mean(1)


def _positive_mean(heads: Heads) -> Square:
    return heads.mean(1).relu_()


def _through(row: Float[Tensor, "batch token"], layer: Square) -> Float[Tensor, "batch token"]:
    return (row[:, None] @ layer)[:, 0]
