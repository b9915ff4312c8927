"""From a file or folder of any known format to weights by our names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from vision_attn.formats import jax, timm, torchvision, transformers, transformers_resnet
from vision_attn.formats.files import SHARDS, metadata, read_json, read_shards, read_state
from vision_attn.formats.told import JAX, Told, from_spec, from_timm, from_transformers
from vision_attn.spec import Spec

FOREIGN = (torchvision, transformers, transformers_resnet, jax)
"""Those whose names are not ours; timm's, DeiT's and torchvision's ResNet are."""
WEIGHTS = ("model.safetensors", "model.npz")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights by our names, and what is known of them."""

    state: dict[str, Tensor]
    told: Told = field(default_factory=Told)
    remarks: list[str] = field(default_factory=list)
    """In words, what was left out."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the patches that positions belong to, if they can be known."""
        kernel, size = self.state.get("patch_embed.proj.weight"), self.told.image_size
        if self.told.grid or kernel is None or size is None:
            return self.told.grid
        return size[0] // kernel.shape[2], size[1] // kernel.shape[3]


def open_path(path: Path) -> Checkpoint:
    """Read a file of weights, or a folder in the format of transformers, timm or our exports.

    Raises ValueError if it is damaged, or of no known format.
    """
    if path.is_dir():
        return _folder(path)
    checkpoint = convert(read_state(path))
    if about := metadata(path).get("vision_attn"):
        promised = json.loads(about)
        spec, unseen = Spec.from_dict(promised["spec"]), promised.get("unseen")
        return replace(checkpoint, told=from_spec(spec, unseen=unseen))
    return checkpoint


def convert(state: Mapping[str, Tensor]) -> Checkpoint:
    """Recognise the format by its names, and give the parameters ours."""
    for names in FOREIGN:
        if names.claims(state):
            told = Told()
            if names is jax:
                told = Told(mean=JAX, std=JAX, unseen=jax.unseen(state))
            elif names is torchvision:
                told = Told(unseen=torchvision.UNSEEN)
            found, said = names.ours(state)
            return Checkpoint(state=found, told=told, remarks=said)
    return Checkpoint(state=dict(state))


def _folder(path: Path) -> Checkpoint:
    weights = next((path / name for name in WEIGHTS if (path / name).exists()), None)
    if weights is None and not (path / SHARDS).exists():
        raise ValueError(
            f"{path} must be a run folder, or one with model.safetensors and config.json; it has "
            f"no model.safetensors, and a pickle is not read from there"
        )
    checkpoint = convert(read_state(weights) if weights else read_shards(path))
    return replace(checkpoint, told=_told(path, checkpoint.told))


def _told(path: Path, known: Told) -> Told:
    """Read what the files beside the weights tell: timm's settings, transformers', or ours."""
    config = read_json(path / "config.json")
    if "pretrained_cfg" in config:
        settings = {**config["pretrained_cfg"], "label_names": config.get("label_names")}
        return from_timm(settings, timm.unseen_of(config))
    if config:
        return from_transformers(config, read_json(path / "preprocessor_config.json"))
    if spec := read_json(path / "spec.json"):
        arguments = read_json(path / "arguments.json")
        heads = {"heads": arguments["num_heads"]} if "num_heads" in arguments else {}
        return from_spec(Spec.from_dict(spec), unseen={**known.unseen, **heads})
    return known
