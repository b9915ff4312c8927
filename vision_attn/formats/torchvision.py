"""torchvision's Vision Transformer; its ResNet has timm's names, and so ours."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from vision_attn.formats.files import safetensors
from vision_attn.formats.format import Format, Logits
from vision_attn.formats.table import Entry, depth_of, pair, read, same, write
from vision_attn.formats.trained import (
    WIDTHS,
    Trained,
    as_in_paper,
    refusal,
    usual_norm,
    with_class_position,
)
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

BLOCK = "encoder.layers.encoder_layer_"
FIRST_NAMES = {"mlp.linear_1.": "mlp.0.", "mlp.linear_2.": "mlp.3."}
"""What the files of the first releases have, and what stands in its place today."""
UNSEEN = {"norm_eps": 1e-6}
"""What all of its Vision Transformers have, though no weight shows it."""
BLOCKS = {"basic": "BasicBlock", "bottleneck": "Bottleneck"}
OPENING = """\
import json
from safetensors.torch import load_file
from torchvision.models.{classes}

arguments = json.load(open("FOLDER/arguments.json"))
network = {call}.eval()
network.load_state_dict(load_file("FOLDER/model.safetensors"))"""


def claims(names: Iterable[str]) -> bool:
    """Recognise a ViT of torchvision."""
    return "conv_proj.weight" in names


def ours(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Give the parameters our names, and in words what was left out: nothing."""
    renamed = {}
    for name, tensor in state.items():
        for first, today in FIRST_NAMES.items():
            name = name.replace(first, today)
        renamed[name] = tensor
    return read(renamed, table(depth_of(state, BLOCK))), []


def table(depth: int) -> Iterator[Entry]:
    """List the parameters of a ViT of so many blocks."""
    yield same("cls_token", "class_token")
    yield same("pos_embed", "encoder.pos_embedding")
    yield from pair("patch_embed.proj", "conv_proj")
    for block in range(depth):
        own, other = f"blocks.{block}", f"{BLOCK}{block}"
        yield from pair(f"{own}.norm1", f"{other}.ln_1")
        yield same(f"{own}.attn.qkv.weight", f"{other}.self_attention.in_proj_weight")
        yield same(f"{own}.attn.qkv.bias", f"{other}.self_attention.in_proj_bias")
        yield from pair(f"{own}.attn.proj", f"{other}.self_attention.out_proj")
        yield from pair(f"{own}.norm2", f"{other}.ln_2")
        yield from pair(f"{own}.mlp.fc1", f"{other}.mlp.0")
        yield from pair(f"{own}.mlp.fc2", f"{other}.mlp.3")
    yield from pair("norm", "encoder.ln")
    yield from pair("head", "heads.head")


def files(trained: Trained) -> dict[str, bytes]:
    """Write the weights, and in arguments.json what torchvision's class is to be called with.

    Raises ValueError for what torchvision cannot hold.
    """
    config, spec, state = trained
    if spec.channels != 3:
        raise refusal("torchvision", f"its images are RGB, got channels={spec.channels}")
    arguments: dict[str, Any] = {"num_classes": spec.outputs}
    if isinstance(config, ResNetConfig):
        as_in_paper(config, "torchvision", widths=WIDTHS)
        arguments |= {"layers": config.depths}
    else:
        arguments |= _arguments(config, spec)
        _, depth, heads = config.shape
        state = with_class_position(state, config)
        state = write(state, table(depth), heads=heads, library="torchvision")
    return {
        "model.safetensors": safetensors(state),
        "arguments.json": (json.dumps(arguments, indent=2) + "\n").encode(),
    }


def _arguments(config: ViTConfig, spec: Spec) -> dict[str, Any]:
    height, width = spec.image_size
    if height != width:
        raise refusal("torchvision", f"its images are square, got {height}x{width} pixels")
    usual_norm(config, "torchvision")
    dim, depth, heads = config.shape
    return {
        "image_size": height,
        "patch_size": config.patch_size_for(spec.image_size),
        "num_layers": depth,
        "num_heads": heads,
        "hidden_dim": dim,
        "mlp_dim": int(dim * config.mlp_ratio),
    }


def reopen(folder: Path, trained: Trained) -> Logits:
    """Open what `files` wrote."""
    from torchvision.models import resnet
    from torchvision.models.vision_transformer import VisionTransformer

    arguments = json.loads((folder / "arguments.json").read_text())
    if isinstance(trained.config, ResNetConfig):
        block = getattr(resnet, BLOCKS[trained.config.block])
        network = resnet.ResNet(block, **arguments)
    else:
        network = VisionTransformer(**arguments)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def opening(trained: Trained) -> str:
    """Name the class that the weights belong to."""
    if isinstance(trained.config, ResNetConfig):
        block = BLOCKS[trained.config.block]
        classes, call = f"resnet import {block}, ResNet", f"ResNet({block}, **arguments)"
    else:
        classes = "vision_transformer import VisionTransformer"
        call = "VisionTransformer(**arguments)"
    return OPENING.format(classes=classes, call=call)


FORMAT = Format(
    write=lambda trained, _: files(trained),
    reopen=reopen,
    package="torchvision",
    library="torchvision",
    opening=opening,
)
