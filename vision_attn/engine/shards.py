"""Checkpoints of a run whose weights are cut over ranks: each rank writes what it holds.

`last.pt` has all numbers and small tensors, and names the folder beside it that has the rest, as
safetensors: nothing is unpickled, and any number of ranks reads what any other has written.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.tensor import DTensor

from vision_attn.engine.checkpoint import load, save
from vision_attn.engine.distributed import leads
from vision_attn.engine.training import Training

FOLDERS = ("last.shards.0", "last.shards.1")
"""Written in turn, so that the former one is whole until the next one is."""


def save_shards(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint from all ranks; `path` changes last, at once, when all have written."""
    chosen = [""]
    if leads():
        former = load(path)["shards"] if path.exists() else None
        chosen = [next(name for name in FOLDERS if name != former)]
        shutil.rmtree(path.with_name(chosen[0]), ignore_errors=True)
    dist.broadcast_object_list(chosen, 0)
    cut: dict[str, Tensor] = {}
    rest = _part(state, "state", cut)
    folder = path.with_name(chosen[0])
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    dcp.save(cut, storage_writer=writer)
    if leads():
        save(path, {**rest, "shards": folder.name})
        for name in set(FOLDERS) - {folder.name}:
            shutil.rmtree(path.with_name(name), ignore_errors=True)


def load_shards(path: Path, training: Training) -> dict[str, Any]:
    """Read a checkpoint, of each cut tensor this rank's part only, as `training` is cut now.

    Raises ValueError if files are missing or damaged.
    """
    state = load(path)
    folder = path.with_name(state.pop("shards"))
    cut = _wanted(state, training)
    try:
        dcp.load(cut, storage_reader=dcp.HuggingFaceStorageReader(str(folder)))
    except (dcp.CheckpointException, OSError) as error:
        raise ValueError(
            f"checkpoint {folder} cannot be read and may be damaged; delete {path} to start this "
            f"run again from the beginning, or put a copy in its place"
        ) from error
    return _join(state, cut)


def _part(entry: Any, name: str, cut: dict[str, Tensor]) -> Any:
    """Copy nested dicts, with the name of a cut tensor in its place, and collect these tensors."""
    if isinstance(entry, DTensor):
        cut[name] = entry
        return name
    if isinstance(entry, dict):
        return {key: _part(value, f"{name}.{key}", cut) for key, value in entry.items()}
    return entry


def _join(entry: Any, cut: dict[str, Tensor]) -> Any:
    """Undo `_part`."""
    if isinstance(entry, dict):
        return {key: _join(value, cut) for key, value in entry.items()}
    return cut[entry] if isinstance(entry, str) else entry


def _wanted(state: dict[str, Any], training: Training) -> dict[str, Tensor]:
    """Make room for the tensors that `state` names; an optimizer's are cut as their parameters."""
    likes = {"task": training.task.state_dict()}
    if training.average:
        likes["average"] = training.average.task.state_dict()
    groups = training.optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    room = {
        named: torch.empty_like(like[name])
        for part, like in likes.items()
        for name, named in state[part].items()
        if isinstance(named, str)
    }
    for number, kept in state["optimizer"]["state"].items():
        names = [named for named in kept.values() if isinstance(named, str)]
        room |= {named: torch.empty_like(parameters[number]) for named in names}
    return room
