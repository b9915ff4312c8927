"""How well a network classifies: accuracies with their intervals, and every class by itself."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
)

from vision_attn.report.answers import Answers
from vision_attn.report.interval import Estimate, average, bootstrap, share


class ClassScores(NamedTuple):
    """Tell how well one class is recognised."""

    name: str
    images: int
    recall: Estimate | None
    """Share of its images that are recognised; None for a class without images."""
    precision: float | None
    """Share of right ones among the answers that name it; None if none does."""
    f1: float
    mistaken_for: tuple[str, int] | None
    """The wrong answer its images get most often, and how many do."""


class Judgement(NamedTuple):
    """All that is told about the answers to one split."""

    accuracy: Estimate
    accuracy_top5: Estimate | None
    """None below six classes."""
    macro_f1: Estimate
    """Mean F1 of the classes that occur, all of them counting alike."""
    loss: Estimate
    """Mean cross-entropy, in nats."""
    confusion: Int[Tensor, "label output"]
    """Images by their class and the answer."""
    classes: list[ClassScores]

    def numbers(self) -> dict[str, float]:
        """Give the headline numbers, each interval beside its number."""
        found: dict[str, float] = {}
        for name in ("accuracy", "accuracy_top5", "macro_f1", "loss"):
            if (number := getattr(self, name)) is not None:
                found |= {
                    name: number.value,
                    f"{name}_low": number.low,
                    f"{name}_high": number.high,
                }
        return {**found, "images": self.accuracy.images}


def judge(answers: Answers, names: tuple[str, ...], seed: int = 0) -> Judgement:
    """Judge answers by their labels; `names` are those of the classes, `seed` draws the bootstrap.

    Accuracies have Wilson intervals, macro F1 and loss those of a bootstrap over images.
    """
    given, labels, images = answers.given, answers.labels, len(answers.labels)
    top5 = None
    if len(names) > 5:
        hits = (answers.logits.topk(5).indices == labels[:, None]).any(-1)
        top5 = share(int(hits.sum()), images)

    def resampled(chosen: Int[Tensor, " image"]) -> Tensor:
        return macro_f1(given[chosen], labels[chosen], len(names))

    return Judgement(
        share(int(answers.right.sum()), images),
        top5,
        bootstrap(resampled, images, torch.Generator().manual_seed(seed)),
        average(answers.losses, torch.Generator().manual_seed(seed)),
        multiclass_confusion_matrix(given, labels, len(names)),
        _classes(answers, names),
    )


def macro_f1(
    given: Int[Tensor, " image"], labels: Int[Tensor, " image"], outputs: int
) -> Float[Tensor, ""]:
    """Average F1 over the classes that are there or are answered, all of them counting alike.

    Written out, for a bootstrap asks for it thousands of times.
    """
    hits, there, said = (
        torch.bincount(x, minlength=outputs) for x in (labels[given == labels], labels, given)
    )
    found = there + said
    return (2 * hits[found > 0] / found[found > 0]).mean()


def _classes(answers: Answers, names: tuple[str, ...]) -> list[ClassScores]:
    given, labels, outputs = answers.given, answers.labels, len(names)
    confusion = multiclass_confusion_matrix(given, labels, outputs)
    precision = multiclass_precision(given, labels, outputs, average="none")
    f1 = multiclass_f1_score(given, labels, outputs, average="none")
    wrong = confusion - confusion.diag().diag()
    found = []
    for place, name in enumerate(names):
        images, hits = int(confusion[place].sum()), int(confusion[place, place])
        most, answer = wrong[place].max(0)
        found.append(
            ClassScores(
                name,
                images,
                share(hits, images) if images else None,
                precision[place].item() if confusion[:, place].any() else None,
                f1[place].item(),
                (names[int(answer)], int(most)) if most else None,
            )
        )
    return found
