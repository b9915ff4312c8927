"""Fit the weights of one network to another of the same kind but another grid, input or head."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vision_attn.models.embed import Grid, resize_patches, resize_positions
from vision_attn.models.portrait import portrait, written
from vision_attn.rules import grouped

HEADS = ("head.", "head_dist.", "fc.")
FIRST = ("patch_embed.proj.weight", "patch_embed.proj.0.weight", "conv1.weight")
"""Convolutions that see the image."""
SYNSET = re.compile(r"n\d{8}")
"""A class of ImageNet by its number in WordNet."""


def load_weights(
    model: nn.Module,
    state: dict[str, Tensor],
    *,
    grid: Grid | None = None,
    names: tuple[str, ...] | None = None,
    unseen: Mapping[str, Any] | None = None,
    place: str = "model",
) -> list[str]:
    """Load a state dict strictly after fitting it, and list in words what was changed.

    A learned position table is resampled to the model's grid; `grid` is the one it was trained
    on, by default a square. Patches are resampled to the model's patch size and number of
    channels. A head with another number of outputs, or none, keeps its fresh weights; so does one
    for other classes, if `names` tells those of the checkpoint, and the same classes are put in the
    model's order. `unseen` are the settings of the checkpoint that no weight shows, as far as they
    are known, and must be the model's; a recipe has those at `place`. Raises ValueError that lists
    every missing, unexpected and misshapen entry, and every setting that differs.
    """
    own = model.state_dict()
    state, changes = _fit_classes(model, own, state, names)
    fitted = dict(state)
    for name, value in own.items():
        found, change = _fitted(model, name, value, state.get(name), grid)
        if found is not None:
            fitted[name] = found
        changes += [change] if change else []
    unlike = differing(model, unseen or {}, place)
    _refuse_misfits(own, fitted, unlike, portrait(state, unseen, place))
    model.load_state_dict(fitted)
    return changes


def _fit_classes(
    model: Any, own: dict[str, Tensor], state: dict[str, Tensor], names: tuple[str, ...] | None
) -> tuple[dict[str, Tensor], list[str]]:
    """Let each output of the head mean what it means to the model, and say how."""
    heads = [name for name in state.keys() & own.keys() if name.startswith(HEADS)]
    wanted: tuple[str, ...] = () if names is None else model.spec.names
    sizes = {len(state[name]) for name in heads}
    if names is None or names == wanted or {len(names), *sizes} != {len(wanted)}:
        return state, []
    if set(names) == set(wanted):
        order = [names.index(name) for name in wanted]
        placed = {name: state[name][order] for name in heads}
        return state | placed, ["head: outputs put in the order of the model's classes"]
    fresh = {name: own[name] for name in heads}
    then, now = next(pair for pair in zip(names, wanted, strict=True) if len(set(pair)) > 1)
    said = f"head: fresh weights, the checkpoint tells other classes, such as {then} for {now}"
    if bool(SYNSET.fullmatch(then)) != bool(SYNSET.fullmatch(now)):
        said += (
            "; one of the two is a number of WordNet: where they mean the same, name the data's "
            "classes as the checkpoint does, and the head is kept"
        )
    return state | fresh, [said]


def _fitted(
    model: nn.Module, name: str, value: Tensor, found: Tensor | None, grid: Grid | None
) -> tuple[Tensor | None, str]:
    """Fit one entry to the model's, as far as that is known, and say how."""
    if name.startswith(HEADS) and (found is None or len(found) != len(value)):
        has = "none" if found is None else f"{len(found)} outputs"
        return value, f"{name}: fresh weights, the checkpoint has {has}, the model {len(value)}"
    if found is None:
        return None, ""
    if name == "pos_embed":
        return _fit_positions(model, found, grid)
    if name in FIRST and found.shape != value.shape and found.ndim == value.ndim:
        return _fit_input(name, found, value)
    return found, ""


def _fit_positions(model: Any, table: Tensor, grid: Grid | None) -> tuple[Tensor, str]:
    prefix = model.position_prefix
    side = math.isqrt(max(table.shape[1] - prefix, 0))
    new: Grid = model.grid
    if grid is None and table.shape[1] == prefix + math.prod(new):
        return table, ""
    old = grid or (side, side)
    if old == new or table.shape[1] != prefix + math.prod(old):
        return table, ""
    resized = resize_positions(table, old, new, prefix)
    return resized, f"pos_embed: resampled from a {old[0]}x{old[1]} grid to {new[0]}x{new[1]}"


def _fit_input(name: str, kernel: Tensor, value: Tensor) -> tuple[Tensor, str]:
    changes = []
    if kernel.shape[1] != value.shape[1]:
        changes.append(f"from {kernel.shape[1]} input channels to {value.shape[1]}")
        kernel = fit_channels(kernel, value.shape[1])
    if name == FIRST[0] and kernel.shape[2:] != value.shape[2:]:
        old, new = ("x".join(map(str, x.shape[2:])) for x in (kernel, value))
        changes.append(f"resampled from patches of {old} pixels to {new}")
        kernel = resize_patches(kernel, (value.shape[2], value.shape[3]))
    return kernel, f"{name}: {', '.join(changes)}" if changes else ""


def fit_channels(kernel: Tensor, channels: int) -> Tensor:
    """Bring a convolution to another number of input channels.

    One channel gets the sum of all; several get the old ones in turn, scaled by old / new, so that
    a grey image keeps its response wherever old divides new. As in timm.
    """
    old = kernel.shape[1]
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel[:, torch.arange(channels) % old] * (old / channels)


def differing(model: Any, unseen: Mapping[str, Any], place: str) -> list[str]:
    """Say which settings that no weight shows are not those of the checkpoint."""
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "unseen"):
        return []
    own = {name: config.unseen.get(name, getattr(config, name, None)) for name in unseen}
    return [
        f"{place}.{name}: {written(value)} there, the model has {written(own[name])}"
        for name, value in unseen.items()
        if written(value) != written(own[name])
    ]


def _refuse_misfits(
    own: dict[str, Tensor], state: dict[str, Tensor], unlike: list[str], kind: str
) -> None:
    problems = [*unlike]
    problems += [f"missing: {name}" for name in grouped(own.keys() - state.keys())]
    problems += [f"unexpected: {name}" for name in grouped(state.keys() - own.keys())]
    misshapen = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    problems += grouped(
        f"misshapen: {name} is {tuple(state[name].shape)}, the model needs {tuple(own[name].shape)}"
        for name in misshapen
    )
    if problems:
        lines = [*sorted(problems), kind] if kind else sorted(problems)
        raise ValueError(
            "the weights must belong to a network of these settings:\n  " + "\n  ".join(lines)
        )
