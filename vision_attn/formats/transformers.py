"""The Vision Transformers of Hugging Face's transformers: ViT, DeiT, DINOv2 (with registers).

The names are those in files, which transformers maps to its modules while loading.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from vision_attn.formats.table import Entry, Layout, depth_of, pair, read, same, write
from vision_attn.formats.trained import Trained, refusal, with_class_position
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec

ROOT = "embeddings.cls_token"
"""Ends the one name that all of them have; what stands before it stands before every name."""
CLASSES = {
    "vit": "ViTForImageClassification",
    "deit": "DeiTForImageClassificationWithTeacher",
    "dinov2": "Dinov2ForImageClassification",
    "dinov2_with_registers": "Dinov2WithRegistersForImageClassification",
}
STACKED = Layout(lambda parts: torch.cat(list(parts)), lambda own, heads: own.chunk(3))
"""Query, key and value, each by itself there."""
LEFT_OUT = {
    "embeddings.mask_token": "it stands for patches hidden in pre-training",
    "pooler.dense.weight": "our head reads the class token itself",
    "pooler.dense.bias": "our head reads the class token itself",
}


def claims(names: Iterable[str]) -> bool:
    """Recognise names of transformers' Vision Transformers."""
    return any(name.endswith(ROOT) for name in names)


def ours(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Give the parameters our names, and in words what was left out."""
    state = dict(state)
    root = next(name for name in state if name.endswith(ROOT)).removesuffix(ROOT)
    said = [
        f"{name}: left out, {reason}"
        for name, reason in LEFT_OUT.items()
        if state.pop(root + name, None) is not None
    ]
    state, narrowed = _class_token_only(state, state[root + ROOT].shape[-1])
    depth = depth_of(state, f"{root}encoder.layer.")
    dino = f"{root}encoder.layer.0.norm1.weight" in state
    head = "cls_classifier" if "cls_classifier.weight" in state else "classifier"
    found = read(state, table(depth, root, dino=dino, head=head))
    if "reg_token" in found:
        found = _without_prefix_position(found)
    return found, said + narrowed


def table(depth: int, root: str, *, dino: bool, head: str) -> Iterator[Entry]:
    """List the parameters of so many blocks; DINOv2 has timm's names inside a block."""
    yield same("cls_token", f"{root}embeddings.cls_token")
    yield same("dist_token", f"{root}embeddings.distillation_token")
    yield same("reg_token", f"{root}embeddings.register_tokens")
    yield same("pos_embed", f"{root}embeddings.position_embeddings")
    yield from pair("patch_embed.proj", f"{root}embeddings.patch_embeddings.projection")
    for block in range(depth):
        own, other = f"blocks.{block}", f"{root}encoder.layer.{block}"
        for kind in ("weight", "bias"):
            parts = (f"{other}.attention.attention.{x}.{kind}" for x in ("query", "key", "value"))
            yield Entry(f"{own}.attn.qkv.{kind}", tuple(parts), STACKED)
        yield from pair(f"{own}.attn.proj", f"{other}.attention.output.dense")
        yield from pair(f"{own}.norm1", f"{other}.{'norm1' if dino else 'layernorm_before'}")
        yield from pair(f"{own}.norm2", f"{other}.{'norm2' if dino else 'layernorm_after'}")
        yield from pair(f"{own}.mlp.fc1", f"{other}.{'mlp.fc1' if dino else 'intermediate.dense'}")
        yield from pair(f"{own}.mlp.fc2", f"{other}.{'mlp.fc2' if dino else 'output.dense'}")
        if dino:
            yield same(f"{own}.ls1.gamma", f"{other}.layer_scale1.lambda1")
            yield same(f"{own}.ls2.gamma", f"{other}.layer_scale2.lambda1")
    yield from pair("norm", f"{root}layernorm")
    yield from pair("head", head)
    yield from pair("head_dist", "distillation_classifier")


def theirs(trained: Trained) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Give the parameters the names of transformers, and the settings of its class.

    Raises ValueError for what none of its classes can hold.
    """
    config, spec, state = trained
    assert isinstance(config, ViTConfig)
    dim, depth, heads = config.shape
    kind = _kind(config)
    dino = kind.startswith("dinov2")
    state = with_class_position(state, config)
    if dino:
        if spec.image_size[0] != spec.image_size[1]:
            raise refusal(CLASSES[kind], f"its images are square, got {spec.image_size} pixels")
        state = _as_dino(state, dim, depth)
    head = "cls_classifier" if config.distilled else "classifier"
    rare = {"dist_token": config.distilled, "reg_token": config.registers}
    rare |= {f"head_dist.{x}": config.distilled for x in ("weight", "bias")}
    rare |= {f"blocks.{block}.attn.qkv.bias": config.qkv_bias for block in range(depth)}
    entries = [x for x in table(depth, f"{kind}.", dino=dino, head=head) if rare.get(x.ours, True)]
    tensors = write(state, entries, heads=heads, library=CLASSES[kind])
    if dino:
        tensors[f"{kind}.embeddings.mask_token"] = torch.zeros(1, dim)
    return tensors, _settings(config, spec, kind)


def _settings(config: ViTConfig, spec: Spec, kind: str) -> dict[str, Any]:
    """Say in the words of config.json what kind of Vision Transformer it is."""
    dim, depth, heads = config.shape
    settings = {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "hidden_size": dim,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "image_size": list(spec.image_size),
        "patch_size": config.patch_size_for(spec.image_size),
        "num_channels": spec.channels,
        "qkv_bias": config.qkv_bias,
        "hidden_act": "gelu",
        "layer_norm_eps": config.norm_eps,
    }
    if not kind.startswith("dinov2"):
        return settings | {"intermediate_size": int(dim * config.mlp_ratio)}
    ratio = int(config.mlp_ratio) if config.mlp_ratio.is_integer() else config.mlp_ratio
    return settings | {"mlp_ratio": ratio, "num_register_tokens": config.registers}


def _kind(config: ViTConfig) -> str:
    if config.distilled:
        return "deit"
    if config.registers:
        return "dinov2_with_registers"
    return "vit" if config.layer_scale is None else "dinov2"


def _class_token_only(state: dict[str, Tensor], dim: int) -> tuple[dict[str, Tensor], list[str]]:
    """Let DINOv2's head, which reads class token and mean patch, read the class token alone."""
    weight = state.get("classifier.weight")
    if weight is None or weight.shape[1] != 2 * dim:
        return state, []
    if not weight[:, dim:].any():
        return state | {"classifier.weight": weight[:, :dim]}, []
    kept = {name: x for name, x in state.items() if not name.startswith("classifier.")}
    return kept, ["classifier: left out, it reads the mean patch beside the class token"]


def _as_dino(state: dict[str, Tensor], dim: int, depth: int) -> dict[str, Tensor]:
    """Scale branches by 1 where they are not scaled; let the head ignore the mean patch."""
    scales = {f"blocks.{i}.ls{n}.gamma": torch.ones(dim) for i in range(depth) for n in (1, 2)}
    head = state["head.weight"]
    return scales | state | {"head.weight": torch.cat([head, torch.zeros_like(head)], 1)}


def _without_prefix_position(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the position of the class token to the token: with registers, timm has none for it."""
    table = state["pos_embed"]
    return state | {"cls_token": state["cls_token"] + table[:, :1], "pos_embed": table[:, 1:]}
