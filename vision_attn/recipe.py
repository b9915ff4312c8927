"""The roof: a recipe says all about a run; its mistakes are told before torch is imported."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from vision_attn.checking.entries import Entries
from vision_attn.checking.mistakes import Sections, check
from vision_attn.checking.settings import Setting, alternatives, settings, table, written
from vision_attn.data.config import (
    Cifar10Config,
    Cifar100Config,
    CsvConfig,
    FashionMnistConfig,
    FolderConfig,
    MnistConfig,
    ScenesConfig,
    TarConfig,
)
from vision_attn.engine.config import TrainConfig
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.tasks.config import ClassificationConfig

if TYPE_CHECKING:
    from vision_attn.models.resnet import ResNet
    from vision_attn.models.vit import ViT
    from vision_attn.spec import Spec


DataConfig: TypeAlias = (
    ScenesConfig
    | FolderConfig
    | TarConfig
    | CsvConfig
    | MnistConfig
    | FashionMnistConfig
    | Cifar10Config
    | Cifar100Config
)
ModelConfig: TypeAlias = ViTConfig | ResNetConfig


class Recipe(BaseModel):
    """Everything that decides how a run goes; each section is one of the configs of its union."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    run: str = "runs/unnamed"
    """Folder of the run, made if need be; runs/NAME for a recipe called NAME.yaml."""
    seed: int = Field(default=0, ge=0)
    """Decides initial weights, order, dropout and mixing: the same seed gives the same run."""
    init: str | None = None
    """Weights to start from: a run folder, a .safetensors or a .pth file; null for fresh ones."""
    data: DataConfig = Field(discriminator="name")
    """What to learn from."""
    model: ModelConfig = Field(discriminator="name")
    """The network."""
    task: ClassificationConfig = ClassificationConfig()
    """What is asked of the network, and how answers are judged."""
    train: TrainConfig = TrainConfig()
    """How it is trained."""

    @model_validator(mode="after")
    def _sections_fit(self, info: ValidationInfo) -> Recipe:
        """Apply every rule whose sections are to be held against each other."""
        unchecked = (info.context or {}).get("unchecked", set())
        found: list[str] = []
        for rule in RULES:
            sections = inspect.signature(rule).parameters
            if not unchecked & set(sections):
                found += rule(**{section: getattr(self, section) for section in sections})
        if found:
            raise ValueError("\n".join(found))
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give plain dicts, lists and numbers, every setting spelled out."""
        return self.model_dump(mode="json")


def patches_fill_image(data: DataConfig, model: ModelConfig) -> Iterator[str]:
    """Refuse patches that do not divide the image."""
    if isinstance(model, ViTConfig):
        patch_size = model.patch_size_for((data.image_size, data.image_size))
        if data.image_size % patch_size:
            yield (
                f"model.patch_size: must divide data.image_size, got {patch_size} and "
                f"{data.image_size} pixels"
            )


def ranks_share_batch(train: TrainConfig) -> Iterator[str]:
    """Refuse a batch that the processes started by torchrun cannot split evenly."""
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    if train.batch_size % (ranks * train.accumulate):
        yield (
            f"train.batch_size: must be a multiple of ranks x accumulate, got {train.batch_size}, "
            f"{ranks} ranks and accumulate={train.accumulate}"
        )


def files_exist(data: DataConfig, init: str | None) -> Iterator[str]:
    """Refuse files that are not there."""
    if init is not None and not Path(init).exists():
        yield f"init: no such file or run folder (got {json.dumps(init)})"
    for name in ("root", "file"):
        path = getattr(data, name, None)
        if path is not None and not Path(path).exists() and not getattr(data, "download", False):
            remedy = "; data.download=true fetches the set" if hasattr(data, "download") else ""
            yield f"data.{name}: no such file or folder{remedy} (got {json.dumps(path)})"


def mirrors_are_installed(train: TrainConfig) -> Iterator[str]:
    """Refuse a mirror of the numbers whose package is missing."""
    if train.tensorboard and find_spec("tensorboard") is None:
        yield "train.tensorboard: needs a package; pip install 'vision_attn[tensorboard]'"


RULES = (patches_fill_image, ranks_share_batch, files_exist, mirrors_are_installed)
"""Each gives `path: what is wrong` about the sections that its parameters name."""
SECTIONS: Sections = {
    section: {
        getattr(config, "name", ""): config
        for config in get_args(field.annotation) or (field.annotation,)
        if isinstance(config, type) and is_dataclass(config)
    }
    for section, field in Recipe.model_fields.items()
}


def read(path: str | Path, *overrides: str) -> Recipe:
    """Read a recipe; each override is `section.field=value`, its value in YAML.

    Raises RecipeError, a line for each mistake. Imports neither torch nor data.
    """
    entries = _entries(Path(path), *overrides)
    return check(Recipe, entries, SECTIONS, unchecked=set())


def _entries(path: Path, *overrides: str) -> Entries:
    entries = Entries()
    entries.load(path)
    if entries.tree:
        entries.tree.setdefault("run", f"runs/{path.stem}")
        for override in overrides:
            entries.override(override)
    return entries


def reference(width: int) -> str:
    """Explain every setting, from the docstrings of the configs; `width` is in characters."""
    plain = [
        Setting(name, alternatives(kind), written(field.default), field.description or "")
        for name, field in Recipe.model_fields.items()
        if not SECTIONS[name] and (kind := Recipe.__annotations__[name])
    ]
    tables: dict[str, list[str]] = {table(plain, width): []}
    for section, configs in SECTIONS.items():
        for name, config in configs.items():
            title = f"{section}.name={name}" if name else section
            summary = inspect.cleandoc(config.__doc__ or "").partition("\n")[0]
            tables.setdefault(table(settings(config), width), []).append(f"{title}: {summary}")
    return "\n\n".join("\n".join([*titles, text]) for text, titles in tables.items())


def remarks(recipe: Recipe) -> Iterator[str]:
    """Say what a recipe leaves to a default that depends, or sets to what rarely works."""
    if isinstance(recipe.model, ViTConfig):
        side = recipe.data.image_size
        patch_size = recipe.model.patch_size_for((side, side))
        if recipe.model.patch_size is None:
            yield f"model.patch_size: {patch_size}, the default for images of {side} pixels"
        elif (tokens := (side // patch_size) ** 2) < 36:
            yield (
                f"model.patch_size: {patch_size} makes only {tokens} tokens of {side} pixels a "
                f"side, too few to learn well from; try {max(1, side // 8)}"
            )


def load_model(folder: str | Path) -> tuple[ViT | ResNet, Spec]:
    """Load the best weights of a run, in evaluation mode on the CPU, and what its data promised.

    Raises ValueError if the folder holds no finished evaluation, or weights of another model.
    """
    from vision_attn.engine.checkpoint import load_weights as read_weights
    from vision_attn.models.weights import load_weights

    folder = Path(folder)
    weights = folder / "best.safetensors"
    if not weights.exists():
        raise ValueError(f"{folder} is no run with weights: {weights} is missing; train it first")
    # Only the model matters here: data may have moved and `init` may be gone.
    unchecked = {"data", "init", "train"}
    recipe = check(Recipe, _entries(folder / "config.yaml"), SECTIONS, unchecked)
    state, spec = read_weights(weights)
    model = recipe.model.build(spec)
    load_weights(model, state)
    return model.eval(), spec


def start_from(model: ViT | ResNet, init: str | None) -> list[str]:
    """Load initial weights, if any, and list in words what had to be fitted.

    `init` is a run folder, a .safetensors file or a file of torch.save. Raises ValueError if it
    cannot be read, or does not fit.
    """
    from vision_attn.models.foreign import read_state
    from vision_attn.models.weights import load_weights

    if init is None:
        return []
    if Path(init).is_dir():
        earlier, _ = load_model(init)
        return load_weights(model, earlier.state_dict(), grid=getattr(earlier, "grid", None))
    return load_weights(model, read_state(Path(init)))
