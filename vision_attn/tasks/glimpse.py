"""Recognising with a moving eye: cross-entropy for the answers, REINFORCE for the places."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import MeanMetric, SumMetric

from vision_attn.attention.look import entropy
from vision_attn.data.batch import Labelled, to
from vision_attn.spec import Spec
from vision_attn.tape import Tape
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig
from vision_attn.tasks.reinforce import over_others, scaled, stopping, to_go
from vision_attn.tasks.task import Task, evaluating

EDGE = 0.95
"""A place this far from the middle, or farther, in x or y, counts as at the border."""
AFTER = "accuracy_after_"
"""Begins the name of the accuracy after a number of glimpses."""
Steps = Float[Tensor, "batch step"]


class Glimpse(Task):
    """Learn one label an image from a few glimpses; the best weights are the most accurate ones.

    The model tells on its tape where it looked, how likely that was, what it expected and what it
    answered. Mnih 2014, section 3.2 (arXiv:1406.6247).
    """

    monitor: str = "accuracy"
    model: Any

    def __init__(self, config: GlimpseTaskConfig, model: Any, spec: Spec):
        super().__init__()
        self.config, self.model, self.spec = config, model, spec

    def at(self, step: int, steps: int) -> None:
        """Let the model's policy follow the training, and tell it how it learns now."""
        progress = step / steps
        self.model.anneal(progress, pathwise=progress < self.config.pathwise)

    def forward(self, batch: Labelled) -> dict[str, Tensor]:
        """Give the loss and, while training, accuracy and share of places cut off at the border."""
        images, labels = batch
        if not self.training:
            return {"loss": F.cross_entropy(self.model(images), labels)}
        config, tape = self.config, Tape()
        labels = labels.repeat_interleave(config.rollouts)
        self.model(images.repeat_interleave(config.rollouts, 0), tape)
        answers = torch.stack(tape.answers, 1).float()
        losses = _cross_entropies(answers, labels)
        weights = self._weights(losses, tape)
        loss = (losses * weights).sum(1).mean() + self._price(weights)
        if tape.values:
            rewards = self._rewards(answers, losses, labels) * weights
            loss = loss + self._policy_loss(rewards.detach(), tape)
        right = answers[:, -1].argmax(-1) == labels
        cut_off = torch.stack(tape.centres).abs().amax(-1) == 1
        return {"loss": loss, "accuracy": right.float().mean(), "cut_off": cut_off.float().mean()}

    def _weights(self, losses: Steps, tape: Tape) -> Steps:
        """Say how much each answer of an image counts; rows sum to 1."""
        if tape.stops:
            return stopping(torch.stack(tape.stops, 1).float())
        if self.config.answers == "all":
            return torch.full_like(losses, 1 / losses.shape[1])
        return F.one_hot(losses.new_tensor([losses.shape[1] - 1]).long()).to(losses)

    def _price(self, weights: Steps) -> Tensor:
        """Charge for the glimpses that an image is expected to take."""
        taken = torch.arange(1, weights.shape[1] + 1, device=weights.device)
        return self.config.cost * (weights * taken).sum(1).mean()

    def _rewards(
        self,
        answers: Float[Tensor, "batch step output"],
        losses: Steps,
        labels: Int[Tensor, " batch"],
    ) -> Steps:
        if self.config.reward == "likelihood":
            return -losses
        return (answers.argmax(-1) == labels[:, None]).float()

    def _policy_loss(self, rewards: Steps, tape: Tape) -> Tensor:
        """Give the loss whose gradient is REINFORCE's, and that of the value head.

        The policy chose the places of the last glimpses, so these are aligned from the end.
        """
        config = self.config
        values = torch.stack(tape.values, 1)
        returns = to_go(rewards)[:, -values.shape[1] :]
        loss = config.value_weight * F.mse_loss(values, returns)
        if tape.looks and config.entropy_weight:
            spread = torch.stack([entropy(look).mean() for look in tape.looks])
            loss = loss - config.entropy_weight * spread.mean()
        if not tape.log_probs:
            return loss
        advantages = self._advantages(returns, values.detach())
        log_probs = torch.stack(tape.log_probs, 1)
        return loss - config.policy_weight * (log_probs * advantages).sum(1).mean()

    def _advantages(self, returns: Steps, values: Steps) -> Steps:
        config, advantages = self.config, returns
        if config.baseline in ("value", "both"):
            advantages = advantages - values
        if config.baseline in ("rollouts", "both"):
            advantages = over_others(advantages, config.rollouts)
        return scaled(advantages) if config.normalise else advantages

    def evaluate(self, batches: Iterable[Labelled]) -> dict[str, float]:
        """Measure one pass over the images, without any draw of the policy, over all ranks.

        Gives accuracy, error and loss, the accuracy after each number of glimpses, the mean number
        of glimpses before stopping, and the share of places at the border after the first one.
        """
        device = next(self.parameters()).device
        images = SumMetric().to(device)
        images.update(0)  # a rank without images takes part all the same
        means = {name: MeanMetric(nan_strategy="disable").to(device) for name in self._names()}
        with evaluating(self):
            for batch in batches:
                images.update(len(batch.labels))
                for name, numbers in self._measured(to(batch, device)).items():
                    means[name].update(numbers)
        if not (count := int(images.compute())):
            raise ValueError("evaluation needs at least one image, got an empty split")
        found = {name: mean.compute().item() for name, mean in means.items()}
        return {**found, "error": 1 - found["accuracy"], "images": count}

    def _names(self) -> list[str]:
        """List what is measured of every image."""
        after = [f"{AFTER}{number}" for number in range(1, self.model.config.glimpses + 1)]
        return ["accuracy", "loss", "border", *after, *["glimpses"] * self.model.config.stop]

    def _measured(self, batch: Labelled) -> dict[str, Float[Tensor, " batch"]]:
        """Measure every image."""
        tape = Tape()
        self.model(batch.images, tape)
        answers = torch.stack(tape.answers, 1).float()
        right = (answers.argmax(-1) == batch.labels[:, None]).float()
        places = torch.stack(tape.centres, 1)[:, 1:]
        numbers = {
            "accuracy": right[:, -1],
            "loss": _cross_entropies(answers, batch.labels)[:, -1],
            "border": (places.abs().amax(-1) >= EDGE).float().mean(1),
        }
        if tape.stops:
            going = (1 - torch.stack(tape.stops, 1)).cumprod(1)[:, :-1]
            numbers["glimpses"] = 1 + (going >= 0.5).float().sum(1)
        return numbers | {f"{AFTER}{n}": column for n, column in enumerate(right.unbind(1), 1)}


def _cross_entropies(
    answers: Float[Tensor, "batch step output"], labels: Int[Tensor, " batch"]
) -> Steps:
    expanded = labels[:, None].expand(-1, answers.shape[1])
    return F.cross_entropy(answers.transpose(1, 2), expanded, reduction="none")
