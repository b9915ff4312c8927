"""timm's networks: their names are ours, so that only the settings are to be written."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vision_attn.formats.files import safetensors
from vision_attn.formats.format import Format, Logits
from vision_attn.formats.trained import WIDTHS, Trained, as_in_paper, refusal, usual_norm
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

POOLS = {"cls": "token", "mean": "avg", "attention": "map"}
"""How timm calls what the head reads."""
TELLING = ("embed_dim", "num_heads", "act_layer", "norm_layer", "avg_down")
"""Arguments of timm that settle what no weight shows; others, such as paths, are not followed."""
OPENING = """\
import timm

network = timm.create_model("local-dir:FOLDER", pretrained=True).eval()"""


def files(trained: Trained) -> dict[str, bytes]:
    """Write the folder that timm.create_model("local-dir:FOLDER") or "hf-hub:NAME" reads.

    Raises ValueError for what timm's classes cannot hold.
    """
    config, spec, state = trained
    if isinstance(config, ResNetConfig):
        as_in_paper(config, "timm", widths=WIDTHS[:1])
        architecture = {"basic": "resnet18", "bottleneck": "resnet50"}[config.block]
        arguments = {"layers": list(config.depths), "channels": list(config.channels)}
        places: dict[str, Any] = {"first_conv": "conv1", "classifier": "fc"}
    else:
        architecture = f"{'deit_tiny_distilled' if config.distilled else 'vit_tiny'}_patch16_224"
        arguments = _arguments(config, spec)
        head = ["head", "head_dist"] if config.distilled else "head"
        places = {"first_conv": "patch_embed.proj", "classifier": head}
    about = {
        "architecture": architecture,
        "num_classes": spec.outputs,
        "model_args": arguments | {"in_chans": spec.channels},
        "label_names": list(spec.names),
        "pretrained_cfg": {
            "num_classes": spec.outputs,
            "input_size": [spec.channels, *spec.image_size],
            "fixed_input_size": isinstance(config, ViTConfig),
            "mean": list(spec.mean),
            "std": list(spec.std),
            "crop_pct": spec.crop,
            "interpolation": spec.interpolation,
            **places,
        },
    }
    return {
        "model.safetensors": safetensors(state),
        "config.json": (json.dumps(about, indent=2) + "\n").encode(),
    }


def reopen(folder: Path, trained: Trained) -> Logits:
    """Open what `files` wrote."""
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


FORMAT = Format(
    write=lambda trained, _: files(trained),
    reopen=reopen,
    package="timm",
    library="timm",
    opening=lambda _: OPENING,
)


def unseen_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what the weights beside a config.json of timm do not show; nothing if timm cannot.

    Raises ValueError as `unseen`.
    """
    import timm  # takes seconds, and most files are not of timm

    name = about.get("architecture", "")
    if not timm.is_model(name):
        return {}
    arguments = about.get("model_args") or {}
    telling = {name: arguments[name] for name in TELLING if name in arguments}
    with torch.device("meta"):
        network = timm.create_model(name, **telling)
    return unseen(network)


def unseen(network: Any) -> dict[str, Any]:
    """Read off a network of timm what its weights do not show.

    Raises ValueError if it computes what ours does not.
    """
    from timm.models.resnet import ResNet
    from timm.models.vision_transformer import Block

    first = next(iter(getattr(network, "blocks", None) or ()), None)
    found: dict[str, Any]
    wanted: Callable[[Tensor], Tensor]
    if isinstance(first, Block):
        activation, wanted = first.mlp.act, torch.nn.functional.gelu
        found = {"heads": first.attn.num_heads, "norm_eps": first.norm1.eps}
    elif isinstance(network, ResNet):
        block = network.layer2[0]
        shortcut: Any = getattr(block, "downsample", None) or [None]
        for part in (getattr(block, "aa", None), shortcut[0]):
            if not isinstance(part, torch.nn.Conv2d | torch.nn.Identity | None):
                raise ValueError(
                    "a network of timm must halve its maps by strides to be like ours, got "
                    f"{type(part).__name__}; a captioner takes it by encoder.name=timm and "
                    "pretrained=true instead of init"
                )
        activation, wanted = network.act1, torch.nn.functional.relu
        found = {"stem_stride": 1, "strides": [1, 2, 2, 2]}
    else:
        return {}  # its names will tell that it is no network of ours
    points = torch.linspace(-3, 3, 61)
    if not torch.allclose(activation(points), wanted(points), atol=1e-6):
        raise ValueError(
            f"a network of timm must have the activation {wanted.__name__} to be like ours, got "
            f"{activation}; no setting of a recipe changes that"
        )
    return found


def _arguments(config: ViTConfig, spec: Spec) -> dict[str, Any]:
    """Say in timm's words what kind of Vision Transformer it is."""
    if config.position not in ("learned", "none") or config.pool not in POOLS:
        raise refusal(
            "timm",
            f"its positions are learned or none and its pools {', '.join(POOLS)}, got "
            f"position={config.position} and pool={config.pool}",
        )
    if config.tokenizer != "patch":
        raise refusal("timm", f"its tokens are patches, got tokenizer={config.tokenizer}")
    usual_norm(config, "timm")
    dim, depth, heads = config.shape
    arguments = {
        "img_size": list(spec.image_size),
        "patch_size": config.patch_size_for(spec.image_size),
        "embed_dim": dim,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": config.mlp_ratio,
        "qkv_bias": config.qkv_bias,
        "qk_norm": config.qk_norm,
        "init_values": config.layer_scale,
        "pos_embed": "learn" if config.position == "learned" else "none",
        "no_embed_class": not config.prefix_position,
        "reg_tokens": config.registers,
    }
    if config.distilled:  # timm's class for it fixes the rest
        return arguments
    return arguments | {
        "class_token": config.pool == "cls",
        "global_pool": POOLS[config.pool],
        "fc_norm": config.fc_norm,
    }
