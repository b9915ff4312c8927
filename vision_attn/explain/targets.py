"""What is explained: a class of each image, or any score computed from the output."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Images, Targets
from vision_attn.explain.frozen import explained
from vision_attn.tape import Tape


def predicted(model: Explainable, images: Images) -> Targets:
    """Name the class with the highest logit of each image."""
    with explained(model), torch.no_grad():
        return model(images).argmax(-1)


def check(model: Explainable, images: Images, targets: Targets) -> None:
    """Raise ValueError unless there is one class an image, each an output of the network.

    How many outputs there are is known here if the network tells; `score` finds it out for any
    other.
    """
    if images.ndim != 4:
        raise ValueError(
            f"images must have shape (batch, channel, height, width), got {tuple(images.shape)}"
        )
    if not len(images):
        raise ValueError("there must be an image to explain, got none")
    if not isinstance(targets, Tensor):
        raise ValueError(f"targets must be a tensor of class indices, got {type(targets).__name__}")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be class indices (integers), got {targets.dtype}")
    if targets.ndim != 1 or len(targets) != len(images):
        raise ValueError(
            f"targets must name one class an image, got targets of shape {tuple(targets.shape)} "
            f"for {len(images)} images"
        )
    _check_range(targets, told_outputs(model))


def told_outputs(model: Explainable) -> int | None:
    """Give the number of outputs that a network tells of itself, by its `spec` or `outputs`."""
    for teller in (getattr(model, "spec", None), model):
        outputs = getattr(teller, "outputs", None)
        if isinstance(outputs, int) and not isinstance(outputs, bool):
            return outputs
    return None


def score(logits: Float[Tensor, "batch output"], targets: Targets) -> Float[Tensor, " batch"]:
    """Pick the logit of each image's target."""
    if targets.ndim != 1:
        raise ValueError(
            f"targets must name one class an image, got targets of shape {tuple(targets.shape)}"
        )
    return scores(logits, targets[:, None])[:, 0]


def scores(
    logits: Float[Tensor, "batch output"], classes: Int[Tensor, "batch class"]
) -> Float[Tensor, "batch class"]:
    """Pick the logits of several classes of each image."""
    if logits.ndim != 2:
        raise ValueError(
            f"the network must give logits of shape (batch, output), got {tuple(logits.shape)}; "
            f"wrap it in Scored to explain a score computed from its output"
        )
    _check_range(classes, logits.shape[1])
    own = classes.to(logits.device).clone()  # no graph keeps a tensor made in inference mode
    return logits.gather(1, own)


def check_classes(logits: Tensor, targets: Targets) -> None:
    """Raise ValueError for a class the network turns out not to have, though no score is wanted."""
    if logits.ndim == 2:  # of other outputs it is not known what a class is
        _check_range(targets, logits.shape[1])


def _check_range(targets: Tensor, outputs: int | None) -> None:
    wrong = targets < 0
    if outputs is not None:
        wrong = wrong | (targets >= outputs)
    if wrong.any():
        raise ValueError(
            f"targets must be in [0, {'outputs' if outputs is None else outputs}), got "
            f"{targets[wrong].unique().tolist()}"
        )


class Scored(nn.Module):
    """Explain any function of the output: its value becomes the only class, number 0.

    `function` maps the output of a batch to one number an image. A mask of a segmentation network,
    for example, is `Scored(model, lambda logits: (logits[:, 3] * mask).sum((-2, -1)))`.
    """

    def __init__(self, model: Explainable, function: Callable[[Tensor], Float[Tensor, " batch"]]):
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, images: Images, tape: Tape | None = None) -> Float[Tensor, "batch 1"]:
        return self.function(self.model(images, tape=tape)).unsqueeze(-1)

    @property
    def cam_layer(self) -> nn.Module:
        """Where CAM methods listen in the wrapped network."""
        return self.model.cam_layer

    @property
    def readout(self) -> Float[Tensor, " token"] | None:
        """Which tokens the wrapped network's head reads."""
        return self.model.readout

    def to_map(
        self, activation: Tensor, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """Lay an activation of the wrapped network out as an image."""
        return self.model.to_map(activation, image_size)
