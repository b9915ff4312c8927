"""What a batch is, what a data set promises, and how a batch moves to a device."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from jaxtyping import Float, Int, Int64, Num
from torch import Tensor

from vision_attn.data.scene import Scene
from vision_attn.spec import Spec

Key: TypeAlias = tuple[int, int]
"""(epoch, index): names one augmented sample for good."""
Batch = TypeVar("Batch", bound=tuple)
Sampled = TypeVar("Sampled", bound=tuple, covariant=True)


class Labelled(NamedTuple):
    """Images ready for the model, and the index of each one's class."""

    images: Float[Tensor, "batch channel height width"]
    labels: Int[Tensor, " batch"]


class Tagged(NamedTuple):
    """Images ready for the model, and 1 for each class that applies to them, else 0."""

    images: Float[Tensor, "batch channel height width"]
    labels: Float[Tensor, "batch output"]


class Captioned(NamedTuple):
    """Images ready for the model, each once, with what people or the grammar say about it."""

    image: Num[Tensor, "batch channel height width"]
    """Pixels; or sentences to be read, as numbers of words in one row."""
    words: Int64[Tensor, "batch caption word"]
    """Numbers of the words of each caption, with an end, then padding (0)."""
    lengths: Int64[Tensor, "batch caption"]
    """Words of each caption, its end included; 0 where an image has fewer captions."""
    texts: list[tuple[str, ...]]
    """All captions of each image as they were written; none in training."""
    scenes: list[Scene]
    """What is known of each image, if it is drawn; none in training and for photographs."""


class Source(Protocol[Sampled]):
    """One split: a whole batch at a time, a pure function of the keys."""

    def __len__(self) -> int:
        """Count the samples of an epoch."""

    def __getitems__(self, keys: list[Key]) -> Sampled:
        """Give the batch of these samples; augmented by epoch and index where the split trains."""


class Problem(NamedTuple):
    """Tell what was wrong with one input and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Data:
    """A data set: its specification and its splits."""

    spec: Spec
    train: Source[Any]
    valid: Source[Any]
    test: Source[Any] | None
    """Read by `evaluate` only, never while training; None where the set has none."""
    problems: list[Problem] = field(default_factory=list)
    """Inputs that could not be used; written to the run folder."""
    remarks: list[str] = field(default_factory=list)
    """What else the user should know before training."""


def to(batch: Batch, device: torch.device) -> Batch:
    """Move every tensor of a NamedTuple batch to a device; what is no tensor stays."""
    moved = (x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for x in batch)
    return type(batch)(*moved)
