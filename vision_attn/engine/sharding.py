"""Weights cut over the ranks (FSDP2), for networks whose training state one device cannot hold."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from vision_attn.engine.distributed import Place, share_buffers
from vision_attn.tasks.task import Task

UNIT = re.compile(r"(^|\.)(blocks|layer\d+)\.\d+$")
"""What is made whole, used and cut again at a time: a block, by timm's names."""


def shard(task: Task, place: Place) -> None:
    """Leave on every rank its part of each weight, cut along the first axis.

    Before every forward pass the ranks take over the buffers of rank 0, as DDP has it. Raises
    ValueError without the processes of torchrun.

    Zhao 2023 (arXiv:2304.11277); this is its second form in torch, which cuts weight by weight.
    """
    if not dist.is_initialized():
        raise ValueError(
            "parallel=fsdp cuts the weights over the processes that torchrun starts, got a process "
            "on its own; start it by torchrun --nproc-per-node=N, or set parallel=ddp"
        )
    mesh = init_device_mesh(place.device.type, (place.world,))
    units = [part for name, part in task.named_modules() if UNIT.search(name)]
    for part in (*units, task):
        fully_shard(part, mesh=mesh)
    task.register_forward_pre_hook(lambda *_: share_buffers(task))


def whole(tensor: Tensor) -> Tensor:
    """Join what is cut over the ranks, all of which must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def hollow(task: Task) -> Task:
    """Copy a task, but for its weights, which keep their shapes and take no memory."""
    twin = deepcopy(task)
    _forget(twin)
    return twin


@contextmanager
def lent(task: Task, twin: Task | None) -> Iterator[Task]:
    """Give a task with whole weights: the hollow twin of a cut one for a while, else the task.

    Ranks evaluate different numbers of batches, and captions of different length, so they cannot
    join weights block by block together.
    """
    if twin is None:
        yield task
        return
    state = {name: whole(tensor) for name, tensor in task.state_dict().items()}
    twin.load_state_dict(state, assign=True)
    try:
        yield twin
    finally:
        _forget(twin)


def _forget(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data.new_zeros(()).expand_as(parameter)
