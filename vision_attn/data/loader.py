"""The processes that read a run's samples, in its order."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from vision_attn.data.batch import Key, Source
from vision_attn.data.order import BalancedOrder, Order, labels_of


class Loader:
    """Prepare a rank's training batches: the same ones for any number of workers.

    The only state is the step, so resuming is `batches(step)`. `batch_size` counts all ranks;
    `balanced` shows every class equally often.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int,
        balanced: bool = False,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self.source, self.workers = source, workers
        place = {"seed": seed, "rank": rank, "world": world}
        self.order = Order(len(source), batch_size, **place)
        if balanced:
            labels = labels_of(source, "balanced sampling")
            self.order = BalancedOrder(len(source), batch_size, labels=labels, **place)

    def batches(self, start_step: int = 0) -> Iterator[Any]:
        """Give this rank's batches from a step on, without end."""
        order = replace(self.order, start_step=start_step)
        return iter(read_ahead(self.source, order, self.workers))


def share(
    source: Source, batch_size: int, *, rank: int = 0, world: int = 1, workers: int = 0
) -> Iterable[Any]:
    """Give a rank's samples (rank, rank + world, ...) in order, unpadded, to every loop over them.

    `batch_size` counts this rank only, and the last batch may be smaller. Keys are (0, index).
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    if not 0 <= rank < world:
        raise ValueError(f"rank must be in [0, world), got rank={rank} and world={world}")
    keys = [(0, index) for index in range(rank, len(source), world)]
    starts = range(0, len(keys), batch_size)
    return read_ahead(source, [keys[start : start + batch_size] for start in starts], workers)


def read_ahead(source: Any, order: Iterable[list[Key]], workers: int) -> DataLoader:
    """Ask a source for batch after batch of keys, in this process or ahead of time in others."""
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    return DataLoader(
        source,
        batch_sampler=order,
        collate_fn=_whole,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start,
        generator=torch.Generator(),  # else each iterator draws from torch's global generator
    )


def _whole(batch: Any) -> Any:
    """Keep the batch as the source made it."""
    return batch


def _start(worker: int) -> None:
    """Take a worker out of the terminal's process group.

    Ctrl-C and a SIGTERM to the group then reach only the main process, which can still save.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
