"""Tiny networks in run folders, without training, and noisy pictures."""

import numpy as np
import torch
from PIL import Image

from vision_attn.data.config import ScenesConfig
from vision_attn.engine.checkpoint import save_weights
from vision_attn.models.config import ResNetConfig, ViTConfig

DATA = "data: {name: scenes, image_size: 24, train: 7, valid: 5, test: 5}\n"
VIT = "model: {name: vit, dim: 8, depth: 2, heads: 2, patch_size: 4}\n"
RESNET = "model: {name: resnet, depths: [1, 1, 1, 1], channels: [4, 4, 6, 7], stem: small}\n"
RECIPES = {
    "vit": (VIT, ViTConfig(dim=8, depth=2, heads=2, patch_size=4)),
    "resnet": (
        RESNET,
        ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 4, 6, 7), stem="small"),
    ),
}


def write_run(folder, name, seed=11):
    """Write what a run leaves behind, without training it."""
    written, config = RECIPES[name]
    spec = ScenesConfig(image_size=24, train=7, valid=5, test=5).build().spec
    folder.mkdir()
    (folder / "config.yaml").write_text(f"run: {folder}\n{DATA}{written}")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = config.build(spec)
        for parameter in network.parameters():  # fresh weights look everywhere alike
            if parameter.ndim > 1:
                parameter.data.add_(0.2 * torch.randn_like(parameter))
    save_weights(folder / "best.safetensors", network, spec)
    return folder


def draw(path, seed, size=(30, 50)):
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(path)
