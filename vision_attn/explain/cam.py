"""Class activation maps: feature maps of one layer, weighted by what the score takes from them."""

from contextlib import nullcontext
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vision_attn.explain.behind import OnlyRead, only_read
from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained, must_have
from vision_attn.explain.hearing import Heard, hear
from vision_attn.explain.looks import token_grid
from vision_attn.explain.maps import at_least_float32, image_size, upsample
from vision_attn.explain.reach import check_reach, where_instead
from vision_attn.explain.shifting import Shifting, is_linear, mixes_images
from vision_attn.explain.targets import check, check_classes, score, scores
from vision_attn.explain.unreached import SkippingUnreached
from vision_attn.explain.weighing import (
    ClassGrids,
    Features,
    Gradients,
    Weigh,
    by_alpha,
    by_gradient,
    by_mean_gradient,
    by_positive_gradient,
    by_share_of_activation,
    principal_component,
    weighted,
)

AT_ONCE = 16
"""Classes that are run backwards together, which takes that many gradients' memory."""


def grad_cam(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Weight each channel by its mean gradient and keep the positive sum.

    Selvaraju 2017, equations 1 and 2 (arXiv:1610.02391).
    """
    return _one_class(by_mean_gradient, model, images, targets)


def grad_cam_plus_plus(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Weight each channel by its positive gradients, each with an alpha; keep the positive sum.

    Chattopadhay 2018, equations 12 and 19 (arXiv:1710.11063).
    """
    return _one_class(by_alpha, model, images, targets)


def hires_cam(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Multiply activation and gradient position by position, summed over channels; signed.

    Draelos, Carin 2020, equation 4 (arXiv:2011.08891).
    """
    return _one_class(by_gradient, model, images, targets)


def layer_cam(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Weight each position of each channel by its positive gradient and keep the positive sum.

    Jiang 2021, equations 5 to 7 (LayerCAM, IEEE TIP 30).
    """
    return _one_class(by_positive_gradient, model, images, targets)


def xgrad_cam(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Weight each channel by its mean gradient in proportion to the activation; signed.

    Meant for activations that are not negative: elsewhere a channel's sum can come near 0.

    Fu 2020, equation 8 (arXiv:2008.02312).
    """
    return _one_class(by_share_of_activation, model, images, targets)


def cam(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Weight each channel by the classifier's own weight; signed.

    Raises ValueError unless the head is a linear classifier of the average over positions.

    Zhou 2016, equation 2 (arXiv:1512.04150).
    """

    def by_classifier(activation: Features, gradient: Gradients) -> ClassGrids:
        weights = activation[0, 0].numel() * gradient.mean((-2, -1))
        if not _is_classifier(model, weights, targets) or not torch.allclose(
            gradient, gradient.mean((-2, -1), keepdim=True), rtol=1e-3, atol=0
        ):
            raise ValueError(
                "cam needs a linear classifier of the average over positions of cam_layer, and "
                "this network has another head; use grad_cam"
            )
        return weighted(activation, weights)

    return _one_class(by_classifier, model, images, targets)


def eigen_cam(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Show the first principal component of the features; signed, the same for every class.

    The sign is the one that agrees with the sum over channels; where that is constant, as after a
    layer norm, the one that makes the few outstanding positions positive.

    Muhammad, Yeasin 2020, equation 3 (arXiv:2008.00299), on centred features.
    """
    check(model, images, targets)
    size = image_size(images)
    with explained(model), torch.no_grad():
        leaf, logits = hear(model, images)
        check_classes(logits, targets)
        features = at_least_float32(model.to_map(leaf, size))
        return upsample(principal_component(features), size)


def class_maps(
    weigh: Weigh, model: Explainable, images: Images, classes: Int[Tensor, "batch class"]
) -> Float[Tensor, "batch class height width"]:
    """Give the map of several classes of each image from one forward pass.

    Nothing is kept for the gradient before `cam_layer`, and only what follows it is run backwards:
    once for up to `AT_ONCE` classes.
    """
    _check_each(model, images, classes)
    alone = classes.shape[1] == 1
    # What several classes share is run for all at once, which cannot ask what each one reaches.
    skipping = SkippingUnreached() if alone else nullcontext()
    must_have(model, "cam_layer", "to_map")
    # What the layer itself gives must be whole, so nothing is left out before it has run.
    reading = only_read(model, after=model.cam_layer, together=not alone)
    with explained(model), skipping, reading:
        return _weighed(weigh, model, images, classes, hear(model, images))


def _weighed(
    weigh: Weigh,
    model: Explainable,
    images: Images,
    classes: Int[Tensor, "batch class"],
    heard: Heard,
) -> Float[Tensor, "batch class height width"]:
    """Differentiate the score of each class and weigh the features by that."""
    leaf, logits = heard
    size = image_size(images)
    if not logits.requires_grad:
        advice = where_instead(model, images, classes[:, 0], leaf.shape)
        raise ValueError(f"the score has no gradient at cam_layer; {advice}")
    activation = at_least_float32(model.to_map(leaf.detach(), size))
    grids = []
    for some in classes.split(AT_ONCE, dim=1):
        on_maps = check_reach(model, images, some, _gradients(leaf, logits, some))
        grids.append(weigh(activation, at_least_float32(on_maps)))
    return _upsampled(grids, size)


def _check_each(model: Explainable, images: Images, classes: Int[Tensor, "batch class"]) -> None:
    if classes.ndim != 2 or not classes.shape[1]:
        raise ValueError(
            f"classes must name one or more classes an image, got shape {tuple(classes.shape)}"
        )
    for targets in (classes.amin(1), classes.amax(1)):
        check(model, images, targets)


def _upsampled(
    grids: list[ClassGrids], size: tuple[int, int]
) -> Float[Tensor, "batch class height width"]:
    all_classes = torch.cat(grids).transpose(0, 1)
    return upsample(all_classes.flatten(0, 1), size).unflatten(0, all_classes.shape[:2])


def _gradients(
    leaf: Tensor, logits: Float[Tensor, "batch output"], classes: Int[Tensor, "batch class"]
) -> Float[Tensor, "class *leaf"]:
    """Differentiate the score of each class with respect to the leaf."""
    chosen = scores(logits, classes).T
    if len(chosen) == 1:
        return torch.autograd.grad(chosen.sum(), leaf, retain_graph=True)[0][None]
    each = torch.eye(len(chosen)).to(chosen)[:, :, None].expand(-1, -1, len(leaf))
    differentiate = partial(torch.autograd.grad, chosen, leaf, retain_graph=True)
    try:
        return differentiate(each, is_grads_batched=True)[0]
    except RuntimeError:  # a backward pass that decides by values takes one class at a time
        return torch.stack([differentiate(one)[0] for one in each])


def grad_cam_classes(
    model: Explainable, images: Images, classes: Int[Tensor, "batch class"]
) -> Float[Tensor, "batch class height width"]:
    """Give Grad-CAM for several classes of each image at the price of one."""
    must_have(model, "cam_layer", "to_map")
    maps, reading = None, only_read(model, after=model.cam_layer, together=True)
    several = classes.ndim == 2 and classes.shape[1] > 1
    if (
        several
        and isinstance(reading, OnlyRead)
        and is_linear(reading.last)
        and not mixes_images(reading.model)
    ):
        maps = _from_sums(model, reading, images, classes)
    return class_maps(by_mean_gradient, model, images, classes) if maps is None else maps


def _from_sums(
    model: Explainable, reading: OnlyRead, images: Images, classes: Int[Tensor, "batch class"]
) -> Float[Tensor, "batch class height width"] | None:
    """Do Grad-CAM with the gradient summed over patches, which is all that it needs.

    None where that is 0, which another way can say why, and where not the last look alone reads
    what `cam_layer` gives or does so in a way of its own; the pass was then in vain.
    """
    _check_each(model, images, classes)
    size = image_size(images)

    def patches(tokens: int) -> Int[Tensor, " patch"]:
        return token_grid(model, tokens, size, images.device).flatten()

    shifting = Shifting(reading.last, patches, reading.read, min(AT_ONCE, classes.shape[1]))
    reading.ask = shifting.answer
    with explained(model), shifting, reading:
        leaf, logits = heard = hear(model, images, shifting.tell)
        if shifting.vector is None:
            return _weighed(by_mean_gradient, model, images, classes, heard)
        if not shifting.holds:
            return None
        activation = at_least_float32(model.to_map(leaf.detach(), size))
        positions, grids = activation[0, 0].numel(), []
        for some in classes.split(AT_ONCE, dim=1):
            sums = _gradients_of_copies(shifting.vector, leaf, logits, some)
            if sums is None or not sums.any(2).all():
                return None
            means = at_least_float32(sums)[..., None, None] / positions
            grids.append(by_mean_gradient(activation, means))
    return _upsampled(grids, size)


def _gradients_of_copies(
    vector: Float[Tensor, "batch copy dim"],
    leaf: Tensor,
    logits: Float[Tensor, "row output"],
    classes: Int[Tensor, "batch class"],
) -> Float[Tensor, "class batch dim"] | None:
    """Differentiate the score of each class, at once where each has a copy of the logits.

    None if the graph of the logits still has the leaf in it.
    """
    count, grad = classes.shape[1], partial(torch.autograd.grad, retain_graph=True)
    if len(logits) != vector.shape[0] * vector.shape[1]:
        (to_leaf,) = grad(logits.sum(), leaf, allow_unused=True)
        return None if to_leaf is not None else _gradients(vector, logits, classes).sum(2)
    total = score(logits[: classes.numel()], classes.T.flatten()).sum()
    to_vector, to_leaf = grad(total, (vector, leaf), allow_unused=True)
    return None if to_leaf is not None else to_vector[:, :count].transpose(0, 1)


def _one_class(weigh: Weigh, model: Explainable, images: Images, targets: Targets) -> Maps:
    check(model, images, targets)
    return class_maps(weigh, model, images, targets[:, None])[:, 0]


def _is_classifier(
    model: Explainable, weights: Float[Tensor, "class batch channel"], targets: Targets
) -> bool:
    """Tell whether a layer of the network holds just these weights for these classes."""
    assert isinstance(model, nn.Module)  # `explained` made sure
    for layer in model.modules():
        if (
            isinstance(layer, nn.Linear | nn.Conv2d)
            and layer.weight[0].numel() == weights.shape[-1]
        ):
            rows = at_least_float32(layer.weight.detach().flatten(1))
            known = targets.max() < len(rows)
            if known and torch.allclose(rows[targets], weights, rtol=1e-2, atol=1e-6):
                return True
    return False
