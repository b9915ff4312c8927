"""Which weights are trained: all, the head, the last blocks, or changes of low rank."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate

from torch import nn

from vision_attn.engine.lora import LowRank
from vision_attn.engine.optim import HEAD, layer_depths
from vision_attn.engine.tune_config import (
    LastBlocksConfig,
    LinearProbeConfig,
    LoraConfig,
    TuneConfig,
)


def tune(model: nn.Module, config: TuneConfig) -> list[str]:
    """Freeze and extend a model as the config says; say in words how much of it will be trained.

    What the model has frozen itself stays so. Raises ValueError if a name fits nothing, or there is
    no output layer or block to train.
    """
    names = [name for name, _ in model.named_parameters()]
    match config:
        case LinearProbeConfig():
            train_only(model, output_layers(names))
        case LastBlocksConfig():
            train_only(model, last_layers(names, config.blocks))
        case LoraConfig():
            train_only(model, output_layers(names))
            add_changes(model, config)
    parameters = dict(model.named_parameters())
    for name in named(parameters, config.freeze, "freeze"):
        parameters[name].requires_grad_(False)
    sizes = {name: x.numel() for name, x in parameters.items()}
    trained = sum(sizes[name] for name, x in parameters.items() if x.requires_grad)
    total = sum(sizes.values())
    return [f"trained: {trained:,} of {total:,} parameters"] if trained < total else []


def rest(module: nn.Module) -> None:
    """Put parts whose weights are all frozen in evaluation mode, so that statistics stay, too."""
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(x.requires_grad for x in parameters):
            part.eval()


def train_only(model: nn.Module, wanted: Collection[str]) -> None:
    """Freeze all parameters but those of these names."""
    for name, parameter in model.named_parameters():
        if name not in wanted:
            parameter.requires_grad_(False)


def output_layers(names: Iterable[str]) -> list[str]:
    """Choose the parameters of output layers, by timm's names; ValueError if there is none."""
    found = [name for name in names if HEAD.search(name)]
    if not found:
        raise ValueError(
            "tune.name=linear_probe and lora train an output layer named head, head_dist, fc or "
            "classifier, the model has none; take tune.name=full"
        )
    return found


def last_layers(names: Sequence[str], blocks: int) -> list[str]:
    """Choose the parameters of the last blocks or stages, and of what comes after them."""
    depths = layer_depths(names)
    outside = max(depths.values())
    if blocks >= outside:
        raise ValueError(f"tune.blocks must be at most {outside - 1}, got {blocks}")
    return [name for name, depth in depths.items() if depth >= outside - blocks]


def add_changes(model: nn.Module, config: LoraConfig) -> None:
    """Put a change of low rank beside the linear layers that the config names.

    Raises ValueError if the model has none but the output layer, or a name fits none.
    """
    linear = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and not HEAD.search(f"{name}.")
    }
    if not linear:
        raise ValueError(
            "tune.name=lora changes linear layers other than the output layer, the model has none; "
            "take tune.name=last_blocks or full"
        )
    for name in named(linear, config.targets, "targets"):
        changed = LowRank(linear[name], config.rank, config.alpha / config.rank)
        model.set_submodule(name, changed)


def named(names: Iterable[str], patterns: Iterable[str], setting: str) -> list[str]:
    """Choose the names that a pattern fits, or that lie in a part it fits.

    Raises ValueError naming the first pattern that fits nothing.
    """
    names, found = list(names), dict[str, None]()
    for pattern in patterns:
        fitting = [name for name in names if any(fnmatchcase(x, pattern) for x in _within(name))]
        if not fitting:
            raise ValueError(
                f"tune.{setting} must fit names such as {names[len(names) // 2]}, got {pattern}, "
                f"which fits none"
            )
        found |= dict.fromkeys(fitting)
    return list(found)


def _within(name: str) -> Iterable[str]:
    """Give the parts that a name lies in, and the name: a, a.b and a.b.c."""
    return accumulate(name.split("."), "{}.{}".format)
