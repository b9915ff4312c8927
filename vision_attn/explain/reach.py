"""Whether the gradient of a score reaches the patches at a layer, and at which layer it does."""

from contextlib import ExitStack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Images, Targets
from vision_attn.explain.maps import image_size
from vision_attn.explain.targets import score


def check_reach(
    model: Explainable,
    images: Images,
    classes: Int[Tensor, "batch class"],
    gradients: Float[Tensor, "class batch ..."],
) -> Float[Tensor, "class batch channel row column"]:
    """Lay gradients at `cam_layer` out as images, or raise ValueError where they miss the patches.

    The head of a class-token network reads no patch after its last attention: from there on the
    gradient is all in the class token, and a map would be silently zero.
    """
    flat = gradients.flatten(0, 1)
    on_maps = model.to_map(flat, image_size(images)).unflatten(0, gradients.shape[:2])
    if on_maps.numel() == gradients.numel():
        return on_maps  # there are no prefix tokens
    missed = gradients.flatten(2).any(2) & ~on_maps.flatten(2).any(2)
    if missed.any():
        targets = classes[:, int(missed.any(1).nonzero()[0])]
        raise ValueError(
            f"the gradient of the score at cam_layer reaches prefix tokens only, no patch; "
            f"{where_instead(model, images, targets, gradients.shape[1:])}"
        )
    return on_maps


def where_instead(model: Explainable, images: Images, targets: Targets, shape: torch.Size) -> str:
    """Advise on a layer to take as `cam_layer`, one with outputs of this shape first."""
    reached = reached_layers(model, images, targets)
    alike = [name for name, its_shape in reached.items() if its_shape == shape]
    if not reached:
        return "no layer has a gradient that reaches the patches"
    return f"use {(alike or list(reached))[-1]} as cam_layer"


def reached_layers(model: Explainable, images: Images, targets: Targets) -> dict[str, torch.Size]:
    """Name the layers whose gradient reaches a patch of every image, in order of execution.

    With each comes the shape of its output.
    """
    assert isinstance(model, nn.Module)  # `explained` made sure
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            outputs.pop(name, None)  # a layer that runs twice stands where it ran last
            outputs[name] = output

    with ExitStack() as stack:
        for name, module in list(model.named_modules())[1:]:
            hook = module.register_forward_hook(lambda *run, name=name: keep(name, run[2]))
            stack.callback(hook.remove)
        logits = model(images.detach().clone().requires_grad_())
    if not outputs:
        return {}
    total = score(logits, targets).sum()
    gradients = torch.autograd.grad(total, list(outputs.values()), allow_unused=True)
    return {
        name: output.shape
        for (name, output), gradient in zip(outputs.items(), gradients, strict=True)
        if gradient is not None and _is_on_map(model, gradient, image_size(images))
    }


def _is_on_map(model: Explainable, gradient: Tensor, size: tuple[int, int]) -> bool:
    try:
        on_map = model.to_map(gradient, size)
    except (ValueError, IndexError, RuntimeError):  # what to_map makes of a vector is its business
        return False
    return on_map.ndim == 4 and bool(on_map.flatten(1).any(1).all())
