"""Read weight files that other programs wrote, without running anything in them."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

INNER = ("state_dict", "model", "model_state")
"""Where training programs put the weights inside a checkpoint."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file or one of `torch.save`, to the CPU.

    Raises ValueError if the file is damaged, or holds anything but a state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"weights must be a .safetensors file or a state dict that torch.load reads with "
            f"weights_only=True, got {path} ({reason})"
        ) from error
    for key in INNER:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"weights must be a dict of names and tensors, {path} holds others")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}
