"""One forward pass that is listened to at the layer of a class activation map."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Images
from vision_attn.explain.frozen import must_have


class Heard(NamedTuple):
    """Keep the output of `cam_layer`, as a leaf of the graph, and the logits computed from it."""

    leaf: Tensor
    logits: Float[Tensor, "batch output"]


def hear(
    model: Explainable, images: Images, go_on: Callable[[Tensor], Tensor] = torch.clone
) -> Heard:
    """Run the network once, its graph starting at the output of `cam_layer`.

    The network goes on with what `go_on` makes of that output, by default a copy.
    """
    must_have(model, "cam_layer", "to_map")
    leaves: list[Tensor] = []

    def cut(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"cam_layer must give one tensor, got {type(output).__name__}; choose another layer"
            )
        # Two copies: the network may change its own output, or its layer's input, in place later.
        leaves.append(output.detach().clone().requires_grad_())
        return go_on(leaves[-1])

    handle = model.cam_layer.register_forward_hook(cut)
    try:
        logits = model(images.detach())
    finally:
        handle.remove()
    if len(leaves) != 1:
        raise ValueError(
            f"cam_layer must run once in a forward pass, but ran {len(leaves)} times; choose "
            f"another layer"
        )
    if len(leaves[0]) != len(images):  # windows of one image would pass for images of their own
        raise ValueError(
            f"cam_layer must give one activation an image, got {len(leaves[0])} for {len(images)} "
            f"images; choose another layer"
        )
    return Heard(leaves[0], logits)
