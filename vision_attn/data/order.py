"""The order in which a run reads its samples: a pure function of the seed and the step."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import count, islice

import numpy as np
from jaxtyping import Int
from torch import Tensor

from vision_attn.data.batch import Key
from vision_attn.data.splits import Indices


@dataclass(frozen=True)
class Order:
    """Give endless batches of keys: epoch after epoch in a fresh permutation, nothing dropped.

    A batch may span two epochs. Global batch number `step` is a pure function of (seed, step), and
    rank r of the world takes its positions r, r + world, ...
    """

    length: int
    batch_size: int
    _: KW_ONLY
    seed: int
    start_step: int = 0
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a training split needs samples, got length={self.length}")
        if self.batch_size < 1 or self.batch_size % self.world:
            raise ValueError(
                f"batch_size must be a positive multiple of the number of ranks, got "
                f"batch_size={self.batch_size} and world={self.world}"
            )
        if not 0 <= self.rank < self.world:
            raise ValueError(
                f"rank must be in [0, world), got rank={self.rank} and world={self.world}"
            )

    def __iter__(self) -> Iterator[list[Key]]:
        keys = self.keys(self.start_step * self.batch_size)
        while batch := list(islice(keys, self.batch_size)):
            yield batch[self.rank :: self.world]

    def keys(self, start: int) -> Iterator[Key]:
        """Give the keys of the whole run, one after the other, from a place on."""
        first, place = divmod(start, self.length)
        for epoch in count(first):
            for index in self.permutation(epoch)[place:].tolist():
                yield epoch, index
            place = 0

    def permutation(self, epoch: int) -> Indices:
        """Give the order of one epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)


@dataclass(frozen=True)
class BalancedOrder(Order):
    """Give endless batches in which every class comes equally often, however few images it has.

    Each round shows one image of every class, the classes in a fresh order. A class has epochs of
    its own: all its images come once, in a fresh permutation, before one comes again, and the epoch
    in a key is that of its class, so that repeated images are augmented differently.
    """

    _: KW_ONLY
    labels: Int[Tensor, " image"]

    def keys(self, start: int) -> Iterator[Key]:
        """Give the keys of the whole run, one after the other, from a place on."""
        classes = self._classes()
        epochs: dict[int, tuple[int, Indices]] = {}
        first, place = divmod(start, len(classes))
        for turn in count(first):
            for number in self._shuffled(np.arange(len(classes)), 0, turn)[place:].tolist():
                epoch, nth = divmod(turn, len(classes[number]))
                if epochs.get(number, (-1,))[0] != epoch:
                    epochs[number] = epoch, self._shuffled(classes[number], 1 + number, epoch)
                yield epoch, int(epochs[number][1][nth])
            place = 0

    def _classes(self) -> list[Indices]:
        """List the images of every class that has any."""
        labels = self.labels.numpy()
        grouped = np.argsort(labels, kind="stable")
        return np.split(grouped, np.flatnonzero(np.diff(labels[grouped])) + 1)

    def _shuffled(self, indices: Indices, stream: int, number: int) -> Indices:
        return np.random.default_rng([self.seed, stream, number]).permutation(indices)


def labels_of(split: object, wanted_by: str) -> Int[Tensor, " image"]:
    """Read the class of every image of a split.

    Raises ValueError naming the setting that needs them if the split does not list one an image.
    """
    labels = getattr(split, "labels", None)
    if not isinstance(labels, Tensor) or labels.ndim != 1:
        raise ValueError(
            f"{wanted_by} needs a training split that lists one label an image, got "
            f"{type(split).__name__}"
        )
    return labels
