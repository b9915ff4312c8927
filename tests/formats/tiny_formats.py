"""Tiny networks of every kind that a format knows, with weights that are far from fresh."""

import torch

from vision_attn.formats.checkpoint import open_path
from vision_attn.formats.targets import TARGETS
from vision_attn.formats.trained import Trained
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.models.weights import load_weights
from vision_attn.spec import Spec

NAMES = ("ant", "bee", "cat", "dog", "eel")
SPEC = Spec(image_size=(35, 35), names=NAMES, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), crop=0.9)
VIT = {"dim": 12, "depth": 2, "heads": 3, "patch_size": 7}
VARIANTS = {
    "plain": ViTConfig(**VIT),
    "narrow": ViTConfig(**VIT, mlp_ratio=3.0),
    "biasless": ViTConfig(**VIT, qkv_bias=False),
    "distilled": ViTConfig(**VIT, distilled=True),
    "scaled": ViTConfig(**VIT, layer_scale=0.3),
    "registers": ViTConfig(**VIT, registers=2, prefix_position=False, layer_scale=0.3),
    "placed_registers": ViTConfig(**VIT, registers=2),
    "unplaced_class": ViTConfig(**VIT, prefix_position=False),
    "mean": ViTConfig(**VIT, pool="mean", fc_norm=True),
    "attention": ViTConfig(**VIT, pool="attention", qk_norm=True),
    "coarse": ViTConfig(**VIT, norm_eps=0.01),
    "nowhere": ViTConfig(**VIT, position="none"),
    "basic": ResNetConfig(depths=(1, 2, 1, 1)),
    "bottleneck": ResNetConfig(block="bottleneck", depths=(1, 1, 2, 1)),
    "slim": ResNetConfig(depths=(1, 1, 1, 1), channels=(64, 10, 14, 22)),
}


def tiny(variant, spec=SPEC):
    """A network in evaluation mode, and the facts of it."""
    config = VARIANTS[variant] if isinstance(variant, str) else variant
    model = awake(config.build(spec))
    return model, Trained(config, spec, model.state_dict())


def awake(model, seed=3):
    """Draw every weight and statistic anew, so that no branch is silent and no scale is 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, x in model.state_dict().items():
        if x.is_floating_point():
            noise = torch.randn(x.shape, generator=generator) * 0.2
            x.copy_(noise.abs() + 0.5 if "running_var" in name else noise)
            if x.ndim == 1 and name.endswith("weight"):
                x.add_(1)
    return model.eval()


def noise(spec=SPEC, batch=2):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, spec.channels, *spec.image_size, generator=generator)


def files(to, trained):
    """What a format that keeps weights by name writes, for which it needs no network."""
    return TARGETS[to].write(trained, None)


def write(folder, files):
    """Put the files of a format into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def reopened(folder, variant):
    """Our network from a folder, and what was said."""
    model = VARIANTS[variant].build(SPEC).eval()
    checkpoint = open_path(folder)
    fitted = load_weights(model, checkpoint.state, unseen=checkpoint.told.unseen)
    return model, [*checkpoint.remarks, *fitted], checkpoint.told
