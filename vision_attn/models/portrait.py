"""What kind of network weights belong to, in the words of a recipe."""

import re
from collections.abc import Mapping

from torch import Tensor


def portrait(state: Mapping[str, Tensor]) -> str:
    """Tell which settings of `model` fit a state dict; empty if it is of no known kind."""
    if (patches := state.get("patch_embed.proj.weight")) is not None:
        settings = _vit(state) | {"dim": patches.shape[0], "patch_size": patches.shape[-1]}
    elif "layer4.0.conv1.weight" in state:
        settings = _resnet(state)
    else:
        return ""
    words = " ".join(f"model.{name}={value}" for name, value in settings.items())
    return f"these weights fit {words}"


def _vit(state: Mapping[str, Tensor]) -> dict[str, object]:
    settings: dict[str, object] = {"name": "vit", "depth": _count(state, r"blocks\.(\d+)\.")}
    if "cls_token" not in state:
        settings["pool"] = "attention" if "attn_pool.latent" in state else "mean"
    if "fc_norm.weight" in state:
        settings["fc_norm"] = "true"
    if "dist_token" in state:
        settings["distilled"] = "true"
    if (registers := state.get("reg_token")) is not None:
        settings["registers"] = registers.shape[1]
    if "blocks.0.ls1.gamma" in state:
        settings["layer_scale"] = "1e-5"
    if "blocks.0.attn.q_norm.weight" in state:
        settings["qk_norm"] = "true"
    if "blocks.0.attn.qkv.weight" in state and "blocks.0.attn.qkv.bias" not in state:
        settings["qkv_bias"] = "false"
    return settings


def _resnet(state: Mapping[str, Tensor]) -> dict[str, object]:
    depths = [_count(state, rf"layer{stage}\.(\d+)\.") for stage in range(1, 5)]
    block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    return {"name": "resnet", "block": block, "depths": str(depths).replace(" ", "")}


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    matches = (re.match(pattern, name) for name in state)
    return len({match[1] for match in matches if match})
