"""The settings of every task; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from torch import nn

    from vision_attn.spec import Spec
    from vision_attn.tasks.classification import Classification


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(Config):
    """One label an image: cross-entropy, top-1 and top-5 accuracy."""

    name: Literal["classification"] = "classification"
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes, [0, 1)."""
    mixup: float = 0.0
    """Beta parameter of mixup (Zhang 2018); 0 turns it off."""
    cutmix: float = 0.0
    """Beta parameter of cutmix (Yun 2019); 0 turns it off; with both, each batch flips a coin."""
    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    """Weight of each class in the loss, for skewed sets: one number a class, or balanced, images /
    (classes x images of the class), whose mean over the training images is 1."""

    def _broken(self) -> Iterator[str]:
        if not 0 <= self.label_smoothing < 1:
            yield f"label_smoothing must be in [0, 1), got {self.label_smoothing}"
        if self.mixup < 0 or self.cutmix < 0:
            yield f"mixup and cutmix must be 0 or more, got {self.mixup}, {self.cutmix}"
        if isinstance(self.class_weights, tuple) and not min(self.class_weights, default=-1) >= 0:
            yield f"class_weights must be 0 or more, one a class, got {self.class_weights}"

    def build(self, model: nn.Module, spec: Spec) -> Classification:
        """Wrap the model with its loss and evaluation."""
        from vision_attn.tasks.classification import Classification

        return Classification(self, model, spec)
