"""How a run starts: device, precision, optimizer, and the checkpoint it goes on from."""

import sys
import warnings

import torch
from torch import nn
from tqdm import tqdm

from vision_attn.engine.average import Average
from vision_attn.engine.checkpoint import load
from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import Place, leads, native_bf16
from vision_attn.engine.memory import keep_freed_memory
from vision_attn.engine.optim import build_optimizer
from vision_attn.engine.run import Run
from vision_attn.engine.sharding import hollow, shard
from vision_attn.engine.shards import load_shards
from vision_attn.engine.training import Training
from vision_attn.engine.tuning import rest
from vision_attn.tasks.task import Task


def precision(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Choose bf16 autocast where it is asked for, or where `auto` finds it in the hardware."""
    native = native_bf16(device)
    if config.precision == "bf16" and not native:
        warnings.warn(
            f"precision=bf16 will be slow: {device} has no native bf16; set precision=auto",
            stacklevel=2,
        )
    wanted = config.precision == "bf16" or (config.precision == "auto" and native)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def prepare(task: Task, config: TrainConfig, place: Place) -> Training:
    """Bring a task to its device as the config says, with an optimizer and an average.

    Raises ValueError if a setting cannot take effect on this model or these ranks.
    """
    if config.batch_size % (place.world * config.accumulate):
        raise ValueError(
            f"batch_size must be a multiple of ranks x accumulate, got batch_size="
            f"{config.batch_size}, {place.world} ranks and accumulate={config.accumulate}"
        )
    if place.device.type == "cpu":
        keep_freed_memory()
    task.to(place.device).train()
    rest(task)
    if config.channels_last:
        for part in task.modules():
            if isinstance(part, nn.Conv2d):  # a query of 4 axes would only disturb DDP's buckets
                part.to(memory_format=torch.channels_last)
    if config.checkpointing:
        switch = getattr(task.model, "set_grad_checkpointing", None)
        if not callable(switch):
            raise ValueError(
                f"checkpointing needs a model with set_grad_checkpointing(), "
                f"{type(task.model).__name__} has none; set checkpointing=false"
            )
        switch(True)
    average = Average(task, config.ema) if config.ema is not None else None
    twin = None
    if config.parallel == "fsdp":
        twin = hollow(task)
        for part in (task, average.task) if average else (task,):
            shard(part, place)
    if config.compile:
        task.model.compile()
    return Training(task, build_optimizer(task, config), average, twin)


def resume(training: Training, run: Run) -> None:
    """Go on from the run's last checkpoint, if it has one."""
    if not run.last.exists():
        return
    training.restore(load_shards(run.last, training) if training.twin else load(run.last))
    if leads():
        tqdm.write(f"resumed {run.folder} at step {training.step}", file=sys.stderr)
