"""Open an exported folder as its user will: with the library it was written for."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from vision_attn.formats.trained import Trained
from vision_attn.models.config import ResNetConfig, ViTConfig

Logits: TypeAlias = Callable[[Tensor], Tensor]
"""From a batch of prepared images to logits."""


def with_timm(folder: Path, trained: Trained) -> Logits:
    """Open what timm reads."""
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def with_transformers(folder: Path, trained: Trained) -> Logits:
    """Open what transformers reads."""
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(folder).eval()
    return lambda images: network(images).logits


def with_torchvision(folder: Path, trained: Trained) -> Logits:
    """Open what torchvision's classes take."""
    from torchvision.models import resnet
    from torchvision.models.vision_transformer import VisionTransformer

    arguments = json.loads((folder / "arguments.json").read_text())
    if isinstance(trained.config, ResNetConfig):
        block = {"basic": resnet.BasicBlock, "bottleneck": resnet.Bottleneck}[trained.config.block]
        network = resnet.ResNet(block, **arguments)
    else:
        network = VisionTransformer(**arguments)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def with_npz_reader(folder: Path, trained: Trained) -> Logits:
    """Open the .npz of the JAX format with timm, which has a reader of its own for it."""
    from timm.models.vision_transformer import VisionTransformer

    config, spec, _ = trained
    assert isinstance(config, ViTConfig)
    dim, depth, heads = config.shape
    network = VisionTransformer(
        img_size=spec.image_size,
        patch_size=config.patch_size_for(spec.image_size),
        in_chans=spec.channels,
        num_classes=spec.outputs,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=config.mlp_ratio,
    )
    network.load_pretrained(str(folder / "model.npz"))
    return network.eval()


def with_onnxruntime(folder: Path, trained: Trained) -> Logits:
    """Open what onnxruntime runs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def logits(images: Tensor) -> Tensor:
        found: np.ndarray = session.run(None, {"images": images.numpy()})[0]
        return torch.from_numpy(found)

    return logits


def with_torch(folder: Path, trained: Trained) -> Logits:
    """Open what torch.export saved."""
    return torch.export.load(folder / "model.pt2").module()


RELOAD: dict[str, tuple[str, Callable[[Path, Trained], Logits]]] = {
    "timm": ("timm", with_timm),
    "hf": ("transformers", with_transformers),
    "jax": ("timm", with_npz_reader),
    "torchvision": ("torchvision", with_torchvision),
    "onnx": ("onnxruntime", with_onnxruntime),
    "torch-export": ("torch", with_torch),
}
"""For each format, the library that opens it and how."""


def difference(to: str, folder: Path, trained: Trained, model: Logits) -> float | None:
    """Compare the logits of an exported network, opened again, with those of the model.

    Gives the largest difference over the largest logit, on images of noise; None where the
    library is not installed.
    """
    library, reopen = RELOAD[to]
    if find_spec(library) is None:
        return None
    spec = trained.spec
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(3, spec.channels, *spec.image_size, generator=noise)
    with torch.no_grad():
        expected, found = model(images), reopen(folder, trained)(images)
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
