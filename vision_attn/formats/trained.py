"""A trained network as plain facts: what a format needs in order to write it."""

from typing import NamedTuple

import torch
from torch import Tensor

from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

WIDTHS = (64, 128, 256, 512)
"""Of the stages of every ResNet of the paper."""


class Trained(NamedTuple):
    """Settings, promises of the data and weights of a network that tells labels."""

    config: ViTConfig | ResNetConfig
    spec: Spec
    state: dict[str, Tensor]


def refusal(library: str, reason: str) -> ValueError:
    """Say that a library has no network like this one, and what takes any."""
    return ValueError(
        f"{library} cannot hold this network: {reason}; --to onnx and --to torch-export hold any"
    )


def as_in_paper(config: ResNetConfig, library: str, *, widths: tuple[int, ...]) -> None:
    """Refuse a ResNet that departs from the paper where the library does not.

    `widths` are those of the stages, first to last, that must be the usual ones.
    """
    own = config.stem, config.strides, config.downsample
    if own != ("imagenet", (1, 2, 2, 2), "stride"):
        raise refusal(
            library,
            "its ResNet has stem=imagenet, strides (1, 2, 2, 2) and downsample=stride, got "
            f"{config.stem}, {config.strides} and {config.downsample}",
        )
    if config.channels[: len(widths)] != widths:
        raise refusal(library, f"its ResNet is {widths} wide, got channels={config.channels}")


def usual_norm(config: ViTConfig, library: str) -> None:
    """Refuse a Vision Transformer whose norms are not those of the library.

    What is smaller than its eps makes no difference that would pass for one: logits are compared.
    """
    if config.norm_eps > 1e-6:
        raise refusal(library, f"its norms have eps=1e-6, got norm_eps={config.norm_eps:g}")


def with_class_position(state: dict[str, Tensor], config: ViTConfig) -> dict[str, Tensor]:
    """Give the class and distillation tokens positions, and registers none: the same network.

    All formats but timm's have it so.
    """
    table, tokens = state.get("pos_embed"), 1 + config.distilled
    if table is None or config.pool != "cls":
        return state
    if not config.prefix_position:
        nowhere = table.new_zeros(1, tokens, table.shape[2])
        return state | {"pos_embed": torch.cat([nowhere, table], 1)}
    if not config.registers:
        return state
    before, registers, patches = table.split(
        [tokens, config.registers, table.shape[1] - tokens - config.registers], dim=1
    )
    return state | {
        "reg_token": state["reg_token"] + registers,
        "pos_embed": torch.cat([before, patches], 1),
    }
