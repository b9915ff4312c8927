"""Checkpoints: written whole or not at all, read without running anything they contain."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from vision_attn.engine.atomic import whole
from vision_attn.engine.lora import merged
from vision_attn.spec import Spec


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain numbers."""
    with whole(path) as file:
        torch.save(state, file)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises ValueError if the file is damaged or holds anything but tensors and plain numbers.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"checkpoint {path} cannot be read and may be damaged; delete it to start this run "
            f"again from the beginning, or put a copy in its place"
        ) from error


def save_weights(path: Path, model: nn.Module, spec: Spec, **numbers: float) -> None:
    """Write a model's weights as safetensors; preprocessing and numbers travel in its metadata.

    So do the settings of the model that no weight shows. Changes of low rank are added to the
    weights that they change: what is written is a plain model.
    """
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in merged(model).items()}
    unseen = getattr(getattr(model, "config", None), "unseen", {})
    about = json.dumps({"spec": spec.to_dict(), "unseen": unseen, **numbers})
    with whole(path) as file:
        # One entry only: safetensors writes several in an order that changes from run to run.
        file.write(serialize(tensors, {"vision_attn": about}))


def load_weights(path: Path) -> tuple[dict[str, Tensor], Spec]:
    """Read weights and the preprocessing they were trained with.

    Raises ValueError if the file is damaged or does not tell its preprocessing.
    """
    try:
        with safe_open(path, "pt") as file:
            spec = Spec.from_dict(json.loads((file.metadata() or {})["vision_attn"])["spec"])
            return {name: file.get_tensor(name) for name in file.keys()}, spec  # noqa: SIM118
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"weights {path} cannot be read, or do not tell their preprocessing; give the "
            f"best.safetensors of a run"
        ) from error
