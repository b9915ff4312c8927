"""Captioners small enough to enumerate, of every kind."""

import torch

from vision_attn.models.caption_config import (
    CaptionerConfig,
    GlimpseDecoderConfig,
    LSTMDecoderConfig,
    RetinaConfig,
    TransformerDecoderConfig,
)
from vision_attn.models.captioner import Captioner
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

NAMES = ("<pad>", "<start>", "<end>", "<unknown>", "a", "red", "blue", "ring", "star", "on", "left")
SPEC = Spec(image_size=(12, 20), names=NAMES)
RESNET = ResNetConfig(
    depths=(1, 1, 1, 1), channels=(4, 4, 6, 8), stem="small", stem_stride=2, strides=(1, 2, 1, 1)
)
VIT = ViTConfig(dim=8, depth=2, heads=2, patch_size=4)
GRID = (3, 5)
EYE = RetinaConfig(size=5, scales=2, channels=(3, 5))
DECODERS = {
    "soft": LSTMDecoderConfig(dim=8),
    "xu": LSTMDecoderConfig(dim=8, order="look_first"),
    "heads": LSTMDecoderConfig(dim=8, heads=2, score="scaled_dot"),
    "local": LSTMDecoderConfig(dim=8, window="predictive", reach=1),
    "monotonic": LSTMDecoderConfig(dim=8, window="monotonic", reach=1),
    "hard": LSTMDecoderConfig(dim=8, look="hard"),
    "gumbel": LSTMDecoderConfig(dim=8, look="gumbel", gate=False),
    "transformer": TransformerDecoderConfig(dim=8, depth=2, heads=2),
    "glimpse": GlimpseDecoderConfig(dim=8, sigma=0.4, order="look_first"),
    "cells": GlimpseDecoderConfig(dim=8, policy="categorical", grid=3),
}


def make(kind: str = "soft", seed: int = 3, sharp: float = 1.0, **changes) -> Captioner:
    """Build a captioner in evaluation mode; `sharp` scales its output, so that words differ."""
    torch.manual_seed(seed)
    decoder = DECODERS[kind]
    encoder = EYE if DECODERS[kind].name == "glimpse" else RESNET
    model = CaptionerConfig(**({"encoder": encoder, "decoder": decoder} | changes)).build(SPEC)
    with torch.no_grad():
        model.decoder.head.weight *= sharp
    return model.eval()


def images(count: int, seed: int = 5, size: tuple[int, int] = (12, 20)) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def captions(batch: int, each: int, length: int, seed: int = 7) -> torch.Tensor:
    """Words that are no specials."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, len(NAMES), (batch, each, length), generator=generator)
