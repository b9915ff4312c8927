"""One label an image: cross-entropy, mixed and smoothed while training, and accuracy."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from vision_attn.data.batch import Labelled, to
from vision_attn.data.order import labels_of
from vision_attn.spec import Spec
from vision_attn.tasks.config import ClassificationConfig
from vision_attn.tasks.mixing import mix
from vision_attn.tasks.task import Task, evaluating


class Classification(Task):
    """Learn one label an image by cross-entropy; the best weights are the most accurate ones."""

    monitor: str = "accuracy"
    class_weights: Tensor | None

    def __init__(self, config: ClassificationConfig, model: nn.Module, spec: Spec):
        super().__init__()
        self.config, self.model, self.spec = config, model, spec
        weights = config.class_weights
        if isinstance(weights, tuple) and len(weights) != spec.outputs:
            raise ValueError(
                f"task.class_weights: needs one number a class, got {len(weights)} for "
                f"{spec.outputs} classes"
            )
        given = torch.tensor(weights) if isinstance(weights, tuple) else None
        self.register_buffer("class_weights", given, persistent=False)

    def meet(self, train: Any) -> None:
        """Count the images of every class, if the rarer ones shall weigh more."""
        if self.config.class_weights == "balanced":
            labels = labels_of(train, "task.class_weights=balanced")
            counts = torch.bincount(labels, minlength=self.spec.outputs).clamp_min(1)
            self.class_weights = len(labels) / (self.spec.outputs * counts)

    def forward(self, batch: Labelled) -> dict[str, Tensor]:
        """Give the mean cross-entropy; mixed, smoothed and weighed in training only.

        That is the mean over the images of -sum over classes of weight x target x log-probability.
        Raises ValueError if weights are to be balanced and the training split was never met.
        """
        images, labels = batch
        if not self.training:
            return {"loss": F.cross_entropy(self.model(images), labels)}
        if self.config.class_weights and self.class_weights is None:
            raise ValueError("task.class_weights=balanced needs labels: call meet() first")
        targets = F.one_hot(labels, self.spec.outputs).to(images.dtype)
        images, targets = mix(images, targets, self.config.mixup, self.config.cutmix)
        logits = self.model(images)
        smoothing = self.config.label_smoothing
        loss = F.cross_entropy(logits, targets, self.class_weights, label_smoothing=smoothing)
        return {"loss": loss}

    def evaluate(self, batches: Iterable[Labelled]) -> dict[str, float]:
        """Give accuracy, accuracy_top5 (from 6 classes up), loss and images, over all ranks."""
        device = next(self.parameters()).device
        loss = MeanMetric(nan_strategy="disable").to(device)
        images = SumMetric().to(device)
        images.update(0)  # a rank without images takes part all the same
        accuracy = self._accuracies().to(device)
        with evaluating(self):
            for batch in batches:
                pixels, labels = to(batch, device)
                logits = self.model(pixels).float()
                accuracy.update(logits, labels)
                loss.update(F.cross_entropy(logits, labels, reduction="none"))
                images.update(len(labels))
        if not (count := int(images.compute())):
            raise ValueError("evaluation needs at least one image, got an empty split")
        numbers = {name: number.item() for name, number in accuracy.compute().items()}
        return {**numbers, "loss": loss.compute().item(), "images": count}

    def _accuracies(self) -> MetricCollection:
        outputs = self.spec.outputs
        metrics: dict[str, Metric] = {"accuracy": MulticlassAccuracy(outputs, average="micro")}
        if outputs > 5:
            metrics["accuracy_top5"] = MulticlassAccuracy(outputs, top_k=5, average="micro")
        return MetricCollection(metrics, compute_groups=False)
