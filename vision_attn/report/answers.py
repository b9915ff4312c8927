"""What a network answers on a whole split, kept as logits, and how costly each answer is."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from vision_attn.data.batch import Labelled, Tagged
from vision_attn.report.cost import at_rest


class Answers(NamedTuple):
    """Hold the logits of every image of a split beside its label, on the CPU."""

    logits: Float[Tensor, "image output"]
    labels: Int[Tensor, " image"]

    @property
    def given(self) -> Int[Tensor, " image"]:
        """Name the class of each image that the network takes for the most likely."""
        return self.logits.argmax(-1)

    @property
    def right(self) -> Bool[Tensor, " image"]:
        """Tell which images were answered rightly."""
        return self.given == self.labels

    @property
    def losses(self) -> Float[Tensor, " image"]:
        """Give the cross-entropy of each answer, in nats."""
        return F.cross_entropy(self.logits.double(), self.labels, reduction="none")

    @property
    def probabilities(self) -> Float[Tensor, "image output"]:
        """Give what the network says of every class; rows sum to 1."""
        return self.logits.double().softmax(-1)

    def cooled(self, temperature: float) -> "Answers":
        """Divide the logits by a temperature: above 1 the answers grow less sure."""
        return self._replace(logits=self.logits / temperature)


def answer(
    model: nn.Module, batches: Iterable[Labelled | Tagged], device: torch.device, what: str
) -> Answers:
    """Ask a network about every image; `what` names the split on the progress bar.

    Raises ValueError if there is no image.
    """
    logits, labels = [], []
    with at_rest(model), tqdm(batches, desc=what, unit="batch", delay=1, disable=None) as bar:
        for batch in bar:
            logits.append(model(batch.images.to(device)).float().cpu())
            labels.append(batch.labels.cpu())
    if not logits:
        raise ValueError("evaluation needs at least one image, got an empty split")
    return Answers(torch.cat(logits), torch.cat(labels))
