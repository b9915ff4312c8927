"""Read weight files that other programs wrote, without running anything in them."""

import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

INNER = ("state_dict", "model", "model_state")
"""Where training programs put the weights inside a checkpoint."""
DAMAGED = (
    SafetensorError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)
"""What readers stumble over where bytes are missing or wrong; in a pickle, over anything."""
SHARDS = "model.safetensors.index.json"
"""Lists the files over which transformers spreads a large network."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read weights from a .safetensors file, an .npz or one of `torch.save`, to the CPU.

    Raises ValueError if the file is damaged, or holds anything but named tensors.
    """
    try:
        content = _content(path)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    for key in INNER:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"weights must be a dict of names and tensors, {path} holds others")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _content(path: Path) -> object:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if path.suffix == ".npz":
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, pickle.UnpicklingError):  # its own words advise to trust the file
        reason = "it holds more than tensors, or its pickle is damaged"
    return ValueError(
        f"weights must be a .safetensors file, an .npz of plain arrays, or a state dict that "
        f"torch.load reads with weights_only=True; {path} is none, or not complete ({reason})"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of settings, nothing if there is none; ValueError naming it if it is damaged."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} must hold JSON, and may not be complete: {error}") from error


def read_shards(folder: Path) -> dict[str, Tensor]:
    """Read weights that are spread over several files; ValueError if one is missing."""
    names = sorted(set(read_json(folder / SHARDS)["weight_map"].values()))
    if missing := [name for name in names if not (folder / name).exists()]:
        raise ValueError(f"{folder} is not complete: {', '.join(missing)} is missing")
    return {key: x for name in names for key, x in read_state(folder / name).items()}


def metadata(path: Path) -> dict[str, str]:
    """Read what a .safetensors file says of itself; nothing of any other file."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def safetensors(state: Mapping[str, Tensor]) -> bytes:
    """Write weights as PyTorch's libraries expect them."""
    return save({name: x.contiguous() for name, x in state.items()}, {"format": "pt"})
