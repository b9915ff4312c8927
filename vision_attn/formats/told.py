"""What a checkpoint tells beside its weights: how images arrive, and what shapes do not show."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vision_attn.spec import Spec

RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which preprocessor_config.json has."""
JAX = (0.5, 0.5, 0.5)
"""Mean and standard deviation that bring pixels to [-1, 1], as the code around every .npz does."""
NAMELESS = re.compile(r"LABEL_\d+")
"""What transformers calls a class that nobody named."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Say how images were prepared in training, and more; None where the checkpoint is silent."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None
    """Pixels, (rows, columns)."""
    crop: float | None = None
    interpolation: str | None = None
    unseen: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `model` that change what the weights compute, and that these do not show."""
    grid: tuple[int, int] | None = None
    """Rows and columns of patches, if anything but a convolution makes them."""
    names: tuple[str, ...] | None = None
    """Of the classes, one for each output of the head, in order."""


def from_spec(
    spec: Spec,
    *,
    unseen: Mapping[str, Any] | None = None,
    grid: tuple[int, int] | None = None,
) -> Told:
    """Read what one of our runs promised."""
    return Told(
        unseen=unseen or {},
        grid=grid,
        names=spec.names,
        mean=spec.mean,
        std=spec.std,
        image_size=spec.image_size,
        crop=spec.crop,
        interpolation=spec.interpolation,
    )


def from_timm(config: Mapping[str, Any], unseen: Mapping[str, Any]) -> Told:
    """Read a `pretrained_cfg` of timm, which has the `label_names` of its file where those are."""
    size, names = config.get("input_size"), config.get("label_names")
    return Told(
        mean=_numbers(config.get("mean")),
        std=_numbers(config.get("std")),
        image_size=(size[1], size[2]) if size else None,
        crop=config.get("crop_pct"),
        interpolation=_known(config.get("interpolation")),
        unseen=unseen,
        names=tuple(names) if names else None,
    )


def from_transformers(config: Mapping[str, Any], processor: Mapping[str, Any]) -> Told:
    """Read config.json and, where there is one, preprocessor_config.json.

    Raises ValueError if the network computes what ours does not.
    """
    if not processor.get("do_normalize", True):
        processor = {**processor, "image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}
    size = _size(config.get("image_size"))
    resized = _size(processor.get("size"))
    cropped = _size(processor.get("crop_size")) if processor.get("do_center_crop") else resized
    return Told(
        mean=_numbers(processor.get("image_mean")),
        std=_numbers(processor.get("image_std")),
        image_size=size or cropped,
        crop=min(1.0, round(min(cropped) / min(resized), 4)) if cropped and resized else None,
        interpolation=RESAMPLING.get(processor.get("resample", -1)),
        unseen=_unseen(config),
        names=_labels(config.get("id2label") or {}),
    )


def _unseen(config: Mapping[str, Any]) -> dict[str, Any]:
    """Read settings that no weight shows; ValueError for those that ours does not have."""
    resnet = config.get("model_type") == "resnet"
    wanted: dict[str, Any] = {"hidden_act": "relu" if resnet else "gelu"}
    wanted |= {"downsample_in_first_stage": False, "downsample_in_bottleneck": False}
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"a network of transformers must have {name}={value} to be like ours, got "
                f"{config[name]}; no setting of a recipe changes that"
            )
    if resnet:
        return {"stem_stride": 1, "strides": [1, 2, 2, 2]}
    known = {"heads": "num_attention_heads", "norm_eps": "layer_norm_eps"}
    return {ours: config[theirs] for ours, theirs in known.items() if theirs in config}


def _labels(entries: Mapping[str, str]) -> tuple[str, ...] | None:
    names = tuple(entries[index] for index in sorted(entries, key=int))
    return None if all(map(NAMELESS.fullmatch, names)) else names


def _numbers(entries: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if entries is None else tuple(entries)


def _known(interpolation: str | None) -> str | None:
    return interpolation if interpolation in RESAMPLING.values() else None


def _size(entry: Any) -> tuple[int, int] | None:
    match entry:
        case {"height": int(height), "width": int(width)}:
            return height, width
        case int(side) | {"shortest_edge": int(side)}:
            return side, side
        case [int(height), int(width)]:
            return height, width
    return None
