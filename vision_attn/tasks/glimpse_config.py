"""The settings of recognising with a moving eye; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from torch import nn

    from vision_attn.spec import Spec
    from vision_attn.tasks.glimpse import Glimpse


@dataclass(frozen=True, kw_only=True)
class GlimpseTaskConfig(Config):
    """One label an image: cross-entropy for the answers after glimpses, REINFORCE for the places.

    Mnih 2014 (arXiv:1406.6247).
    """

    name: Literal["glimpse"] = "glimpse"
    answers: Literal["last", "all"] = "last"
    """Which answers are judged: that after the last glimpse, or every one, all alike."""
    reward: Literal["right", "likelihood"] = "right"
    """right: 1 for a right answer, else 0; likelihood: log-probability of the label (Ba 2015)."""
    rollouts: int = 1
    """Sequences of glimpses that each image of a batch is seen through."""
    baseline: Literal["value", "rollouts", "both", "none"] = "value"
    """What a reward is held against: the value head's guess, the mean of the other rollouts of the
    same image, or the guess first and then what the others still had over theirs."""
    normalise: bool = False
    """Divide advantages by their root mean square over the batch."""
    policy_weight: float = 1.0
    """Of REINFORCE in the loss."""
    value_weight: float = 1.0
    """Of the value head's mean squared error in the loss."""
    entropy_weight: float = 0.0
    """Of the entropy of a categorical policy, which the loss then rewards."""
    pathwise: float = 0.0
    """Share of the training in which places learn by gradients through what is seen there, [0, 1]:
    reparameterised samples, Gumbel softmax for a categorical policy; REINFORCE after it."""
    cost: float = 0.0
    """What another glimpse costs a network that may stop, in nats of cross-entropy."""

    def _broken(self) -> Iterator[str]:
        if self.rollouts < 1:
            yield f"rollouts must be 1 or more, got {self.rollouts}"
        if self.rollouts == 1 and self.baseline in ("rollouts", "both"):
            yield f"baseline={self.baseline} needs other rollouts, got rollouts=1"
        for name in ("policy_weight", "value_weight", "entropy_weight", "cost"):
            if getattr(self, name) < 0:
                yield f"{name} must be 0 or more, got {getattr(self, name)}"
        if not 0 <= self.pathwise <= 1:
            yield f"pathwise must be in [0, 1], got {self.pathwise}"

    def build(self, model: nn.Module, spec: Spec) -> Glimpse:
        """Wrap the model with its loss and evaluation."""
        from vision_attn.tasks.glimpse import Glimpse

        return Glimpse(self, model, spec)
