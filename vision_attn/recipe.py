"""The roof: a recipe says all about a run; its mistakes are told before torch is imported."""

from __future__ import annotations

import inspect
import json
import os
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from vision_attn.checking.caption_rules import (
    captions_go_together,
    cells_fit_images,
    looks_take_settings,
)
from vision_attn.checking.entries import Entries
from vision_attn.checking.glimpse_rules import (
    eyes_take_settings,
    glimpses_go_together,
    grounds,
    unheeded,
)
from vision_attn.checking.mistakes import Sections, check
from vision_attn.checking.nested import choices
from vision_attn.checking.settings import Setting, alternatives, settings, table, written
from vision_attn.checking.tune_rules import balance_needs_labels, captioners_freeze_themselves
from vision_attn.data.canvas_config import CanvasConfig
from vision_attn.data.caption_config import (
    CaptionCsvConfig,
    CocoCaptionsConfig,
    Flickr8kConfig,
    KarpathyConfig,
    SceneCaptionsConfig,
)
from vision_attn.data.config import CsvConfig, FolderConfig, ScenesConfig, TarConfig
from vision_attn.data.multilabel_config import MultilabelCsvConfig
from vision_attn.data.places import is_there, places
from vision_attn.data.public_config import (
    Cifar10Config,
    Cifar100Config,
    FashionMnistConfig,
    MnistConfig,
)
from vision_attn.data.sequence_config import DatesConfig, ReversalConfig, SequencesConfig
from vision_attn.data.stored_config import DatasetsConfig, ShardsConfig
from vision_attn.engine.config import TrainConfig
from vision_attn.engine.tune_config import (
    FullConfig,
    LastBlocksConfig,
    LinearProbeConfig,
    LoraConfig,
)
from vision_attn.models.caption_config import CaptionerConfig
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.tasks.config import ClassificationConfig
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig
from vision_attn.tasks.multilabel_config import MultilabelConfig

DataConfig: TypeAlias = (
    ScenesConfig
    | FolderConfig
    | TarConfig
    | CsvConfig
    | MultilabelCsvConfig
    | ShardsConfig
    | DatasetsConfig
    | MnistConfig
    | FashionMnistConfig
    | Cifar10Config
    | Cifar100Config
    | CanvasConfig
    | SceneCaptionsConfig
    | Flickr8kConfig
    | KarpathyConfig
    | CocoCaptionsConfig
    | CaptionCsvConfig
    | ReversalConfig
    | DatesConfig
)
ModelConfig: TypeAlias = ViTConfig | ResNetConfig | CaptionerConfig | GlimpseConfig
TaskConfig: TypeAlias = (
    ClassificationConfig | MultilabelConfig | CaptioningConfig | GlimpseTaskConfig
)
TuneConfig: TypeAlias = FullConfig | LinearProbeConfig | LastBlocksConfig | LoraConfig

TIMM, HUB = "timm:", "hf:"
"""Before the names of weights that the Hugging Face hub has."""


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
    """Weights to start from: timm:NAME, hf:ORG/MODEL, a run folder, a folder of transformers or
    timm, or a .safetensors, .npz or .pth file; null for fresh ones."""
    data: DataConfig = Field(discriminator="name")
    """What to learn from."""
    model: ModelConfig = Field(discriminator="name")
    """The network."""
    task: TaskConfig = Field(default=ClassificationConfig(), discriminator="name")
    """What is asked of the network, and how answers are judged."""
    tune: TuneConfig = Field(default=FullConfig(), discriminator="name")
    """Which weights are trained, and which stay as `init` gave them."""
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
    place, network = "model", cast(Any, model)
    if isinstance(model, CaptionerConfig):
        place, network = "model.encoder", model.encoder
    if isinstance(network, ViTConfig) and not isinstance(data, SequencesConfig):
        patch_size = network.patch_size_for((data.image_size, data.image_size))
        if data.image_size % patch_size:
            yield (
                f"{place}.patch_size: must divide data.image_size, got {patch_size} and "
                f"{data.image_size} pixels"
            )


def labels_go_together(data: DataConfig, task: TaskConfig) -> Iterator[str]:
    """Refuse several labels an image where one is asked for, and the other way round."""
    if isinstance(data, MultilabelCsvConfig) != isinstance(task, MultilabelConfig):
        yield (
            f"task.name: multilabel and data of several labels an image belong together, got "
            f"{task.name} and {data.name}"
        )


def ranks_share_batch(train: TrainConfig) -> Iterator[str]:
    """Refuse a batch that the processes started by torchrun cannot split evenly."""
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    if train.batch_size % (ranks * train.accumulate):
        yield (
            f"train.batch_size: must be a multiple of ranks x accumulate, got {train.batch_size}, "
            f"{ranks} ranks and accumulate={train.accumulate}"
        )


def files_exist(data: DataConfig, init: str | None, run: str) -> Iterator[str]:
    """Refuse files that are not there; a run that goes on has no more need of `init`."""
    remote = init is None or init.startswith((TIMM, HUB))
    if not remote and not Path(str(init)).exists() and not Path(run, "last.pt").exists():
        yield f"init: no such file or run folder (got {json.dumps(init)})"
    for name, path in places(vars(data)).items():
        if not is_there(name, path) and not getattr(data, "download", False):
            remedy = "; data.download=true fetches the set" if hasattr(data, "download") else ""
            yield f"data.{name}: no such file or folder{remedy} (got {json.dumps(path)})"


def mirrors_are_installed(train: TrainConfig) -> Iterator[str]:
    """Refuse a mirror of the numbers whose package is missing."""
    if train.tensorboard and find_spec("tensorboard") is None:
        yield "train.tensorboard: needs a package; pip install 'vision_attn[tensorboard]'"


RULES = (
    patches_fill_image,
    labels_go_together,
    captions_go_together,
    cells_fit_images,
    looks_take_settings,
    glimpses_go_together,
    eyes_take_settings,
    balance_needs_labels,
    captioners_freeze_themselves,
    ranks_share_batch,
    files_exist,
    mirrors_are_installed,
)
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
    entries = entries_of(Path(path), *overrides)
    return check(Recipe, entries, SECTIONS, unchecked=set())


def entries_of(path: Path, *overrides: str) -> Entries:
    """Read the text of a recipe, unchecked, and the defaults that depend on it."""
    entries = Entries()
    entries.load(path)
    if entries.tree:
        entries.tree.setdefault("run", f"runs/{path.stem}")
        for override in overrides:
            entries.override(override)
    for name, field in Recipe.model_fields.items():
        section = entries.tree.get(name)
        if isinstance(section, dict) and (default := getattr(field.default, "name", None)):
            section.setdefault("name", default)
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
            for title, kind in _titled(section, name, config):
                summary = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
                words = textwrap.fill(f"{title}: {summary}", width, subsequent_indent="  ")
                tables.setdefault(table(settings(kind), width), []).append(words)
    return "\n\n".join("\n".join([*titles, text]) for text, titles in tables.items())


def _titled(section: str, name: str, config: type) -> Iterator[tuple[str, type]]:
    """Name a config of a section, then those that may stand in it."""
    yield f"{section}.name={name}" if name else section, config
    for field, kinds in choices(config).items():
        for inner, kind in kinds.items():
            yield f"{section}.{field}.name={inner}", kind


def remarks(recipe: Recipe) -> Iterator[str]:
    """Say what a recipe leaves to a default that depends, or sets to what rarely works."""
    if recipe.tune.name != "full" and recipe.init is None:
        yield f"tune.name: {recipe.tune.name} keeps weights that are random; set init to good ones"
    if isinstance(recipe.model, GlimpseConfig) and isinstance(recipe.task, GlimpseTaskConfig):
        yield from unheeded(recipe.model, recipe.task)
        yield from grounds(recipe.data)
    if isinstance(recipe.model, ViTConfig) and not isinstance(recipe.data, SequencesConfig):
        side = recipe.data.image_size
        patch_size = recipe.model.patch_size_for((side, side))
        if recipe.model.patch_size is None:
            yield f"model.patch_size: {patch_size}, the default for images of {side} pixels"
        elif (tokens := (side // patch_size) ** 2) < 36:
            yield (
                f"model.patch_size: {patch_size} makes only {tokens} tokens of {side} pixels a "
                f"side, too few to learn well from; try {max(1, side // 8)}"
            )
