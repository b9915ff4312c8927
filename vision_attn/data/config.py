"""The settings of every data set; read and checked before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes of training images; everything is off by default."""

    flip: bool = False
    """Mirror left-right half of the time."""
    shift: int = 0
    """Pad by so many pixels (reflected) and crop back at a random place."""
    crop_scale: float | None = None
    """Smallest area share of a random resized crop, (0, 1]; None for no such crop."""
    randaugment: int = 0
    """Magnitude of RandAugment (2 operations an image), 0-10; 0 turns it off."""
    erase: float = 0.0
    """Probability of erasing a random rectangle, [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class ScenesConfig:
    """Drawn scenes: label, boxes, masks and captions known for every image; no download."""

    name: Literal["scenes"] = "scenes"
    image_size: int = 64
    """Pixels a side."""
    train: int = 60_000
    """Training scenes; drawn once and kept, or drawn afresh each epoch (see `fresh`)."""
    valid: int = 2_000
    test: int = 2_000
    fresh: bool = False
    """Draw new scenes in every epoch instead of repeating the first."""
    seed: int = 0
    """Of the scenes, not of the run: the same seed gives the same pictures anywhere."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def build(self) -> Data:
        """Open the data set: specification and the three splits."""
        from vision_attn.data.scenes import build

        return build(self)
