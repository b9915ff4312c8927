"""Class activation maps from forward passes alone: channels shown one by one, or taken away."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.hearing import hear
from vision_attn.explain.maps import at_least_float32, image_size, normalise, upsample
from vision_attn.explain.steps import Pair, readings, whole
from vision_attn.explain.targets import check, score
from vision_attn.explain.weighing import Features


def score_cam(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    channels: int | None = None,
    batch_size: int = 64,
) -> Maps:
    """Weight each channel by the softmax over channels of the score of the image masked by it.

    None is exact and takes a forward pass a channel that is not constant. A number approximates:
    only that many channels, those that vary most over each image, are tried and share the weight.

    Wang 2020, algorithm 1 (arXiv:1910.01279).
    """
    if channels is not None and channels < 1:
        raise ValueError(f"channels must be at least 1, or None for all, got {channels}")
    features = _features(model, images, targets)
    order = features.flatten(2).var(2, correction=0).argsort(dim=1, descending=True, stable=True)
    order = order[:, :channels]
    alive = (features.flatten(2).amax(2) > features.flatten(2).amin(2)).sum(1).max().item()
    tried = min(int(alive), order.shape[1])

    def masked(image: Pair, step: Pair) -> Images:
        shown = features[image, order[image, step.clamp_max(order.shape[1] - 1)]]
        masks = normalise(upsample(shown, image_size(images)))
        masks[step == tried] = 0  # one pass stands for all constant channels, whose mask is empty
        return images[image] * masks[:, None].to(images)

    scores = readings(model, images, targets, masked, steps=tried + 1, batch_size=batch_size).T
    shares = scores[:, tried:].repeat(1, order.shape[1])
    shares[:, :tried] = scores[:, :tried]
    weights = torch.zeros_like(features[:, :, 0, 0]).scatter(
        1, order, shares.softmax(1).to(features)
    )
    return upsample(torch.einsum("bcij,bc->bij", features, weights).relu(), image_size(images))


def ablation_cam(
    model: Explainable, images: Images, targets: Targets, *, batch_size: int = 64
) -> Maps:
    """Weight each channel by the share of the score that is lost when it is set to 0.

    Takes a forward pass a channel that is not 0 already. Prefix tokens keep their channels.

    Desai, Ramaswamy 2020, equation 6 (Ablation-CAM, WACV).
    """
    features = _features(model, images, targets)
    full = whole(model, images, targets, batch_size)
    with explained(model), torch.no_grad():
        left = full[:, None].repeat(1, features.shape[1])
        for pair in features.flatten(2).any(2).nonzero().split(batch_size):
            image, channel = pair.unbind(1)
            with without_channels(model, channel, image_size(images)):
                logits = at_least_float32(model(images[image]))
            left[image, channel] = score(logits, targets.to(image.device)[image])
    # The paper divides by the score; its size, because a negative one would turn the map round.
    weights = (full[:, None] - left) / full.abs()[:, None]
    grids = torch.einsum("bcij,bc->bij", features, weights.to(features)).relu()
    return upsample(grids, image_size(images))


@contextmanager
def without_channels(
    model: Explainable, channels: Int[Tensor, " batch"], size: tuple[int, int]
) -> Iterator[None]:
    """Set one channel of the map at `cam_layer` to 0 in each image, while the context lasts."""

    def ablate(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        # The gradient of a channel of the map tells where it lies, however the layer is laid out.
        with torch.enable_grad():
            leaf = output.detach().clone().requires_grad_()
            chosen = model.to_map(leaf, size)[range(len(channels)), channels].sum()
            (inside,) = torch.autograd.grad(chosen, leaf)
        return output.masked_fill(inside != 0, 0)

    handle = model.cam_layer.register_forward_hook(ablate)
    try:
        yield
    finally:
        handle.remove()


def _features(model: Explainable, images: Images, targets: Targets) -> Features:
    check(model, images, targets)
    with explained(model), torch.no_grad():
        return at_least_float32(model.to_map(hear(model, images).leaf, image_size(images))).detach()
