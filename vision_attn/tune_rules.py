"""Rules of a recipe about what is trained, and about sets whose classes differ in size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vision_attn.data.canvas_config import CanvasConfig
from vision_attn.data.config import ImagesConfig
from vision_attn.engine.config import TrainConfig
from vision_attn.models.caption_config import CaptionerConfig
from vision_attn.tasks.config import ClassificationConfig


def balance_needs_labels(data: Any, task: Any, train: TrainConfig) -> Iterator[str]:
    """Refuse to even out classes that are not known before training."""
    if isinstance(data, ImagesConfig | CanvasConfig):
        return
    if train.balanced:
        yield f"train.balanced: needs a set that lists its labels, got data.name={data.name}"
    if isinstance(task, ClassificationConfig) and task.class_weights == "balanced":
        yield f"task.class_weights: needs a set that lists its labels, got data.name={data.name}"


def captioners_freeze_themselves(model: Any, tune: Any) -> Iterator[str]:
    """Refuse a captioner whose encoder would be frozen in two places."""
    if isinstance(model, CaptionerConfig) and tune.name != "full":
        yield (
            f"tune.name: a captioner keeps its encoder by model.freeze and model.unfreeze_from, "
            f"got tune.name={tune.name}; leave it at full"
        )
