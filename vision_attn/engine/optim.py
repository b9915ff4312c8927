"""The learning rate as a function of the step, and which parameters get how much of it."""

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim import Optimizer

from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import native_bf16
from vision_attn.engine.muon import Muon

HEAD = re.compile(r"(^|\.)(head|head_dist|fc|classifier)\.")
"""Output layers, by timm's names; Muon leaves them to AdamW, and layer decay to the full rate."""
POLICY = re.compile(r"(^|\.)policy\.")
"""What chooses where to look next."""
BLOCK = re.compile(r"(?:^|\.)(?:blocks\.|layer)(\d+)\.")
"""A transformer's block or a ResNet's stage, by timm's names."""
STEM = re.compile(
    r"(^|\.)(patch_embed|pos_embed|cls_token|dist_token|reg_token|norm_pre|conv1|bn1)\b"
)
"""What comes before the first block or stage, by timm's names."""


def rate_at(step: int, config: TrainConfig) -> float:
    """Give the learning rate of update number `step`, counted from 0.

    Warm-up rises linearly and never wastes a step on a rate of 0: (step + 1) / (warmup + 1).
    Cosine: Loshchilov, Hutter 2017, equation 5 without restarts (arXiv:1608.03983).
    """
    if step < config.warmup:
        return config.rate * (step + 1) / (config.warmup + 1)
    progress = (step - config.warmup) / (config.steps - config.warmup)
    match config.schedule:
        case "cosine":
            left = (1 + math.cos(math.pi * progress)) / 2
        case "linear":
            left = 1 - progress
        case "step":
            return config.rate * 0.1 ** sum(step >= config.steps * part for part in (0.5, 0.75))
        case "constant":
            return config.rate
    return config.rate * (config.final_rate + (1 - config.final_rate) * left)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def build_optimizer(task: nn.Module, config: TrainConfig) -> Optimizer:
    """Build the optimizer over the task's trainable parameters: timm's, but for Muon."""
    groups = parameter_groups(task, config)
    if config.optimizer == "muon":
        short = config.precision != "fp32" and native_bf16(next(task.parameters()).device)
        dtype = torch.bfloat16 if short else torch.float32
        return Muon(groups, config.rate, config.momentum, dtype=dtype)
    return create_optimizer_v2(
        groups, opt=config.optimizer, lr=config.rate, momentum=config.momentum
    )


def parameter_groups(task: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Sort trainable parameters by what they are, so that each kind is treated alike.

    Raises ValueError if nothing is trainable, or a factor on the rate has nothing to act on.
    """
    shares = rate_shares(task, config)
    looked_up = {id(m.weight) for m in task.modules() if isinstance(m, nn.Embedding)}
    groups: dict[tuple[bool, bool, float], dict[str, Any]] = {}
    for name, parameter in task.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = is_matrix(parameter)
        inner = matrix and id(parameter) not in looked_up and not HEAD.search(name)
        group = groups.setdefault(
            (matrix, inner, shares[name]),
            {
                "params": [],
                "weight_decay": config.weight_decay if matrix else 0.0,
                "use_fallback": not inner,
                "lr_scale": shares[name],
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def rate_shares(task: nn.Module, config: TrainConfig) -> dict[str, float]:
    """Give the factor on the rate of each trainable parameter: by its layer, and by what it does.

    Raises ValueError if nothing is trainable, or what a factor is for is not there.
    """
    names = [name for name, x in task.named_parameters() if x.requires_grad]
    heads = {name for name in names if HEAD.search(name)}
    policies = {name for name in names if POLICY.search(name)}
    if not names:
        raise ValueError("nothing to train: every parameter of the task is frozen")
    if config.head_rate != 1 and not heads:
        raise ValueError(
            f"head_rate is for a trained output layer named head, head_dist, fc or classifier, got "
            f"head_rate={config.head_rate} and no such layer; leave head_rate at 1"
        )
    if config.policy_rate != 1 and not policies:
        raise ValueError(
            f"policy_rate is for a part named policy that learns where to look from rewards, got "
            f"policy_rate={config.policy_rate} and a network without one; leave policy_rate at 1"
        )
    shares = dict.fromkeys(names, 1.0)
    shares |= dict.fromkeys(heads, config.head_rate) | dict.fromkeys(policies, config.policy_rate)
    if config.layer_decay is not None:
        depths = layer_depths([name for name, _ in task.named_parameters()])
        for name in names:
            shares[name] *= config.layer_decay ** (max(depths.values()) - depths[name])
    return shares


def is_matrix(parameter: nn.Parameter) -> bool:
    """Tell a weight matrix or filter from biases, norms, tokens and positions.

    Tokens and position tables are stored with a batch axis of one.
    """
    return parameter.ndim >= 2 and parameter.shape[0] > 1


def layer_depths(names: Sequence[str]) -> dict[str, int]:
    """Count layers from the stem (0) over blocks or stages to the head, by parameter names.

    Raises ValueError if there is no block. Bao 2022, section 3.1's layers (arXiv:2106.08254).
    """
    found = {name: int(match[1]) for name in names if (match := BLOCK.search(name))}
    if not found:
        raise ValueError(
            "layer_decay and tune.name=last_blocks count layers by parameters named blocks.N or "
            "layerN as in timm, found none; leave them out"
        )
    first, last = min(found.values()), max(found.values())
    outside = {name: 0 if STEM.search(name) else last - first + 2 for name in names}
    return {name: found[name] - first + 1 if name in found else outside[name] for name in names}
