"""Where this process stands: its rank, the number of processes, its device."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vision_attn.attention.multihead import has_native_bf16


@dataclass(frozen=True)
class Place:
    """Name this process among those that train together, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Tell whether this process writes files and shows progress."""
        return self.rank == 0


@contextmanager
def joined(device: str = "auto") -> Iterator[Place]:
    """Join the processes that torchrun started, and leave them at the end; alone, do nothing."""
    place = find(device)
    if dist.is_initialized() or "WORLD_SIZE" not in os.environ:
        yield place
        return
    dist.init_process_group(dist.get_default_backend_for_device(place.device))
    try:
        yield find(device)
    finally:
        dist.destroy_process_group()


def find(device: str = "auto") -> Place:
    """Tell this process's place; `auto` is an accelerator where there is one, else the CPU."""
    initialized = dist.is_initialized()
    rank, world = (dist.get_rank(), dist.get_world_size()) if initialized else (0, 1)
    return Place(rank, world, _device(device))


def leads() -> bool:
    """Tell whether this process is the one that writes files."""
    return not dist.is_initialized() or dist.get_rank() == 0


def _device(name: str) -> torch.device:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        name = accelerator.type if accelerator else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto or a name torch knows, got {name}") from error
    if device.type == "cpu":
        return device
    if accelerator is None or device.type != accelerator.type:
        here = accelerator.type if accelerator else "only the CPU"
        raise ValueError(f"device {name} is not available, found {here}; take auto")
    index = int(os.environ.get("LOCAL_RANK", 0)) if device.index is None else device.index
    torch.accelerator.set_device_index(index)
    return torch.device(device.type, index)


def native_bf16(device: torch.device) -> bool:
    """Tell whether a device computes bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and has_native_bf16()


def mean_over_ranks(numbers: Mapping[str, Tensor], device: torch.device) -> dict[str, float]:
    """Average scalars over all ranks; every rank must ask for the same ones at the same time."""
    values = torch.stack([number.detach().to(device, torch.float32) for number in numbers.values()])
    if dist.is_initialized():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return dict(zip(numbers, values.tolist(), strict=True))


def share_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of rank 0, such as running statistics, which differ by rank."""
    if dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def without_exchange(network: nn.Module) -> AbstractContextManager[None]:
    """Keep gradients on this rank while they are accumulated."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
