"""What the engine knows of a problem: a model, its loss and its evaluation in one module."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Task(nn.Module, ABC):
    """Join a model with its loss and its evaluation; DDP wraps this, and the engine needs no more.

    Randomness in `forward` (mixing, dropout) comes from torch's global generator, which the loop
    seeds before every step.
    """

    monitor: str
    """Which number of `evaluate` decides which weights are the best; larger is better."""

    model: nn.Module

    def meet(self, train: Any) -> None:
        """Learn from the training split what losses need beyond their batches; before training."""

    def at(self, step: int, steps: int) -> None:
        """Set what changes while training, before update number `step` of `steps`.

        A function of the two numbers alone, so that a resumed run goes on as if never stopped.
        """

    @abstractmethod
    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Give "loss", a mean over the batch, and scalars to log; calls the model once."""

    @abstractmethod
    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Measure the model on batches of this rank's share; the numbers hold for all ranks."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode without gradients, and each of its parts back as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode
