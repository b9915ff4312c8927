"""The order in which a run reads its samples, and the processes that prepare them."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from vision_attn.data.batch import Key, Source


class Order:
    """Give endless batches of keys: epoch after epoch in a fresh permutation, nothing dropped.

    A batch may span two epochs. Global batch number `step` is a pure function of (seed, step), and
    rank r of the world takes its positions r, r + world, ...
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        start_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        if length < 1:
            raise ValueError(f"a training split needs samples, got length={length}")
        if batch_size < 1 or batch_size % world:
            raise ValueError(
                f"batch_size must be a positive multiple of the number of ranks, got "
                f"batch_size={batch_size} and world={world}"
            )
        if not 0 <= rank < world:
            raise ValueError(f"rank must be in [0, world), got rank={rank} and world={world}")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_step, self.rank, self.world = start_step, rank, world

    def permutation(self, epoch: int) -> NDArray[np.int64]:
        """Give the order of one epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, place = divmod(self.start_step * self.batch_size, self.length)
        order = self.permutation(epoch)
        while True:
            batch: list[Key] = []
            while len(batch) < self.batch_size:
                indices = order[place : place + self.batch_size - len(batch)]
                batch += [(epoch, i) for i in indices.tolist()]
                place += len(indices)
                if place == self.length:
                    epoch, place = epoch + 1, 0
                    order = self.permutation(epoch)
            yield batch[self.rank :: self.world]


class Loader:
    """Prepare a rank's training batches: the same ones for any number of workers.

    The only state is the step, so resuming is `batches(step)`. `batch_size` counts all ranks.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        Order(
            len(source), batch_size, seed=seed, rank=rank, world=world
        )  # report a bad setting now
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.workers, self.rank, self.world = workers, rank, world

    def batches(self, start_step: int = 0) -> Iterator[Any]:
        """Give this rank's batches from a step on, without end."""
        order = Order(
            len(self.source),
            self.batch_size,
            seed=self.seed,
            start_step=start_step,
            rank=self.rank,
            world=self.world,
        )
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
