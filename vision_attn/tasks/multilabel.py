"""Any number of labels an image: each output says by itself whether its label applies."""

import warnings
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, SumMetric
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelStatScores

from vision_attn.data.batch import Tagged, to
from vision_attn.spec import Spec
from vision_attn.tasks.task import Task, evaluating


class Multilabel(Task):
    """Learn which labels apply by binary cross-entropy; the best weights rank images best."""

    monitor: str = "average_precision"

    def __init__(self, model: nn.Module, spec: Spec):
        super().__init__()
        self.model, self.spec = model, spec

    def forward(self, batch: Tagged) -> dict[str, Tensor]:
        """Give the mean binary cross-entropy over images and labels."""
        logits = self.model(batch.images)
        return {"loss": F.binary_cross_entropy_with_logits(logits, batch.labels)}

    def evaluate(self, batches: Iterable[Tagged]) -> dict[str, float]:
        """Give average_precision and f1, means over the labels that occur, loss and images.

        A label applies to an image, for F1, if its probability is above 0.5.
        """
        device, outputs = next(self.parameters()).device, self.spec.outputs
        precision = MultilabelAveragePrecision(outputs, average="none").to(device)
        counts = MultilabelStatScores(outputs, average="none").to(device)
        loss = MeanMetric(nan_strategy="disable").to(device)
        images = SumMetric().to(device)
        images.update(0)  # a rank without images takes part all the same
        with evaluating(self):
            for batch in batches:
                pixels, labels = to(batch, device)
                logits = self.model(pixels).float()
                precision.update(logits, labels.int())
                counts.update(logits, labels.int())
                loss.update(F.binary_cross_entropy_with_logits(logits, labels, reduction="none"))
                images.update(len(labels))
        if not (count := int(images.compute())):
            raise ValueError("evaluation needs at least one image, got an empty split")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # labels that do not occur are left out below
            precisions = precision.compute()
        hits, false, _, missed, there = counts.compute().double().unbind(-1)
        f1 = 2 * hits / (2 * hits + false + missed)
        return {
            "average_precision": precisions[there > 0].mean().item(),
            "f1": f1[there > 0].mean().item(),
            "loss": loss.compute().item(),
            "images": count,
        }
