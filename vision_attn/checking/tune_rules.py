"""Rules of a recipe about what is trained, and about sets whose classes differ in size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vision_attn.data.canvas_config import CanvasConfig
from vision_attn.data.caption_config import CaptionsConfig
from vision_attn.data.config import ImagesConfig
from vision_attn.data.multilabel_config import MultilabelCsvConfig
from vision_attn.engine.config import TrainConfig
from vision_attn.models.caption_config import CaptionerConfig
from vision_attn.tasks.config import ClassificationConfig


def balance_needs_labels(data: Any, task: Any, train: TrainConfig) -> Iterator[str]:
    """Refuse to even out classes that are not known before training."""
    other = isinstance(data, MultilabelCsvConfig | CaptionsConfig)
    if isinstance(data, ImagesConfig | CanvasConfig) and not other:
        return
    needs = f"needs a set that lists one label an image, got data.name={data.name}"
    if train.balanced:
        yield f"train.balanced: {needs}"
    if isinstance(task, ClassificationConfig) and task.class_weights == "balanced":
        yield f"task.class_weights: {needs}"


def captioners_freeze_themselves(model: Any, tune: Any) -> Iterator[str]:
    """Refuse a captioner whose encoder would be frozen in two places."""
    if isinstance(model, CaptionerConfig) and tune.name != "full":
        yield (
            f"tune.name: a captioner keeps its encoder by model.freeze and model.unfreeze_from, "
            f"got tune.name={tune.name}; leave it at full"
        )
