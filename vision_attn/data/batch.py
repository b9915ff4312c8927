"""What a batch is, what a data set promises, and how a batch moves to a device."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vision_attn.spec import Spec

Key: TypeAlias = tuple[int, int]
"""(epoch, index): names one augmented sample for good."""


class Labelled(NamedTuple):
    """Images ready for the model, and the index of each one's class."""

    images: Float[Tensor, "batch channel height width"]
    labels: Int[Tensor, " batch"]


class Source(Protocol):
    """One split: a whole batch at a time, a pure function of the keys."""

    def __len__(self) -> int:
        """Count the samples of an epoch."""

    def __getitems__(self, keys: list[Key]) -> Labelled:
        """Give the batch of these samples; augmented by epoch and index where the split trains."""


class Problem(NamedTuple):
    """Tell what was wrong with one input and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Data:
    """A data set: its specification and its splits."""

    spec: Spec
    train: Source
    valid: Source
    test: Source | None
    """Read by `evaluate` only, never while training; None where the set has none."""
    problems: list[Problem] = field(default_factory=list)
    """Inputs that could not be used; written to the run folder."""


Batch = TypeVar("Batch", bound=tuple)


def to(batch: Batch, device: torch.device) -> Batch:
    """Move every tensor of a NamedTuple batch to a device."""
    return type(batch)(*(x.to(device, non_blocking=True) for x in batch))
