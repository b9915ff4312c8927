"""FullGrad: what the input and every bias contribute to a score."""

from contextlib import ExitStack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.maps import at_least_float32, image_size, normalise, upsample
from vision_attn.explain.targets import check, score


def full_grad(model: Explainable, images: Images, targets: Targets) -> Maps:
    """Sum the sizes of all `contributions`, those of each channel scaled to [0, 1].

    Srinivas, Fleuret 2019, equation 5 (arXiv:1905.00780).
    """
    total = images.new_zeros((), dtype=torch.promote_types(images.dtype, torch.float32))
    for part in contributions(model, images, targets):
        scaled = normalise(part.abs().flatten(0, 1)).view_as(part)
        total = total + upsample(scaled.sum(1), image_size(images))
    return total


def contributions(
    model: Explainable, images: Images, targets: Targets
) -> list[Float[Tensor, "batch channel row column"]]:
    """Give value times gradient of the input and of the bias of every layer that has a map; signed.

    In a network of ReLUs they and the biases of its head add up to the logit. Raises ValueError for
    networks that normalise otherwise than by batch norm: their layers are not linear plus bias.

    Srinivas, Fleuret 2019, equation 3 (arXiv:1905.00780).
    """
    check(model, images, targets)
    kept: list[tuple[nn.Module, Tensor]] = []

    def keep(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        kept.append((layer, output))
        return output.clone()  # which the network may change in place

    with explained(model):
        leaf = images.detach().clone().requires_grad_()
        with ExitStack() as stack:
            for layer in _bias_layers(model):
                stack.callback(layer.register_forward_hook(keep).remove)
            logits = model(leaf)
        outputs = [leaf, *(output for _, output in kept)]
        gradients = torch.autograd.grad(score(logits, targets).sum(), outputs)
        values = [images, *(_implicit_bias(layer) for layer, _ in kept)]
    pairs = zip(values, gradients, strict=True)
    return [at_least_float32(value) * at_least_float32(gradient) for value, gradient in pairs]


def _implicit_bias(layer: nn.Module) -> Float[Tensor, "channel 1 1"]:
    if isinstance(layer, nn.BatchNorm2d):  # what it makes of zeros: its means are taken away too
        return layer(layer.weight.new_zeros(1, layer.num_features, 1, 1))[0]
    assert isinstance(layer.bias, Tensor)
    return layer.bias[:, None, None]


def _bias_layers(model: Explainable) -> list[nn.Module]:
    assert isinstance(model, nn.Module)  # `explained` made sure
    return [layer for layer in model.modules() if _has_bias(layer)]


def _has_bias(layer: nn.Module) -> bool:
    norms = nn.LayerNorm | nn.GroupNorm | nn.RMSNorm | nn.modules.batchnorm._NormBase
    if type(layer) is not nn.BatchNorm2d and isinstance(layer, norms):
        raise ValueError(
            f"full_grad needs a network of convolutions and batch norms, and this one has "
            f"{type(layer).__name__}; use integrated_gradients, which adds up for any network"
        )
    return isinstance(layer, nn.BatchNorm2d) or (
        isinstance(layer, nn.Conv2d) and layer.bias is not None
    )
