"""What kind of network weights belong to, in the words of a recipe."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

ENCODER = "encoder.network."
"""What begins the names of a captioner's encoder."""
EYE = "decoder.gaze.what."
"""What begins the names of what a captioner sees through its retina."""


def portrait(
    state: Mapping[str, Tensor], unseen: Mapping[str, Any] | None = None, place: str = "model"
) -> str:
    """Tell which settings fit a state dict; empty if neither it nor `unseen` tells any.

    `unseen` are those known though no weight shows them; `place` is where a recipe has them.
    """
    settings = _settings(state)
    words = [f"{place}.{name}={written(x)}" for name, x in (settings | dict(unseen or {})).items()]
    return f"these weights fit {' '.join(words)}" if words else ""


def _settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    if (patches := state.get("patch_embed.proj.weight")) is not None:
        return _vit(state) | {"dim": patches.shape[0], "patch_size": patches.shape[-1]}
    if "layer4.0.conv1.weight" in state:
        return _resnet(state)
    if EYE + "0.weight" in state:
        return _eye(state)
    within = {
        name.removeprefix(ENCODER): x for name, x in state.items() if name.startswith(ENCODER)
    }
    return {f"encoder.{name}": x for name, x in _settings(within).items()} if within else {}


def written(value: Any) -> str:
    """Write a value so that a command line takes it, without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _vit(state: Mapping[str, Tensor]) -> dict[str, Any]:
    settings: dict[str, Any] = {"name": "vit", "depth": _count(state, r"blocks\.(\d+)\.")}
    widening = state.get("blocks.0.mlp.fc1.weight")
    if widening is not None and len(widening) != 4 * widening.shape[1]:
        settings["mlp_ratio"] = len(widening) / widening.shape[1]
    if "pos_embed" not in state:
        settings["position"] = "none"
    if "cls_token" not in state:
        pools = {"attn_pool.latent": "attention", "attn_pool.query": "sequence"}
        settings["pool"] = next((pool for name, pool in pools.items() if name in state), "mean")
    if "fc_norm.weight" in state:
        settings["fc_norm"] = True
    if "dist_token" in state:
        settings["distilled"] = True
    if (registers := state.get("reg_token")) is not None:
        settings["registers"] = registers.shape[1]
    if _only_patches_have_places(state):
        settings["prefix_position"] = False
    if "blocks.0.ls1.gamma" in state:
        settings["layer_scale"] = 1e-5
    if "blocks.0.attn.q_norm.weight" in state:
        settings["qk_norm"] = True
    if "blocks.0.attn.qkv.weight" in state and "blocks.0.attn.qkv.bias" not in state:
        settings["qkv_bias"] = False
    return settings


def _only_patches_have_places(state: Mapping[str, Tensor]) -> bool:
    """Tell a square of positions that would be none without those of the prefix tokens."""
    tokens = [state[name] for name in ("cls_token", "dist_token", "reg_token") if name in state]
    prefix, table = sum(token.shape[1] for token in tokens), state.get("pos_embed")
    return bool(
        table is not None
        and prefix
        and math.isqrt(table.shape[1]) ** 2 == table.shape[1]
        and math.isqrt(max(table.shape[1] - prefix, 0)) ** 2 != table.shape[1] - prefix
    )


def _resnet(state: Mapping[str, Tensor]) -> dict[str, Any]:
    depths = [_count(state, rf"layer{stage}\.(\d+)\.") for stage in range(1, 5)]
    block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    settings: dict[str, Any] = {"name": "resnet", "block": block, "depths": depths}
    for number, downsample in enumerate(("stride", "average")):
        shortcut = state.get(f"layer2.0.downsample.{number}.weight")
        if shortcut is not None and shortcut.ndim == 4:
            settings["downsample"] = downsample
    return settings


def _eye(state: Mapping[str, Tensor]) -> dict[str, Any]:
    layers = {
        int(name.removeprefix(EYE).partition(".")[0]): x
        for name, x in state.items()
        if name.startswith(EYE) and name.endswith("weight")
    }
    channels = [len(x) for x in layers.values() if x.ndim == 4]
    pooled = max(layers) - 1 == 3 * len(channels)  # a convolution, what is not linear, a pool
    cells = "decoder.gaze.policy.periphery.0.weight" in state
    return {
        "encoder.name": "retina",
        "encoder.channels": channels,
        "encoder.downsample": "max" if pooled else "stride",
        "decoder.policy": "categorical" if cells else "gaussian",
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    matches = (re.match(pattern, name) for name in state)
    return len({match[1] for match in matches if match})
