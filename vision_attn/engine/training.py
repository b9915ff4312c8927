"""What a run is at a step: all that is saved, and all that a resumed run goes on from."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from vision_attn.engine.average import Average
from vision_attn.tasks.task import Task


class Clock:
    """Measure a run's wall-clock seconds over all resumptions, and its pace since the last look."""

    def __init__(self, seconds: float = 0.0):
        self.before, self.updates = seconds, 0
        self.start()

    def start(self) -> None:
        """Count from now on, beyond the seconds of before."""
        self.began = self.looked = time.monotonic()

    @property
    def seconds(self) -> float:
        """Give the seconds of the whole run, evaluation included."""
        return self.before + time.monotonic() - self.began

    def images_per_second(self, batch_size: int) -> float:
        """Give the pace since the last call, pauses left out."""
        elapsed, self.looked = time.monotonic() - self.looked, time.monotonic()
        images, self.updates = self.updates * batch_size, 0
        return images / elapsed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens in the context from the pace."""
        start = time.monotonic()
        yield
        self.looked += time.monotonic() - start


NUMBERS = ("step", "evaluated", "best", "stale", "lines")


@dataclass
class Training:
    """Hold the parts of a training run and how far it has come."""

    task: Task
    optimizer: Optimizer
    average: Average | None
    twin: Task | None = None
    """Lends whole weights to evaluation where the task's are cut over ranks."""
    clock: Clock = field(default_factory=Clock)
    step: int = 0
    """Updates done."""
    evaluated: int = 0
    """Step of the last evaluation."""
    best: float = -math.inf
    """Highest score of the task's monitor."""
    stale: int = 0
    """Evaluations since that score."""
    lines: int = 0
    """Lines of metrics.jsonl at the last save; later ones are written again after a resume."""
    saved: int = 0
    """Step of the last save."""

    def advance(self) -> None:
        """Count an update, and let the average follow."""
        self.step += 1
        self.clock.updates += 1
        if self.average:
            self.average.update(self.task, self.step)

    def state(self) -> dict[str, Any]:
        """Give tensors and plain numbers only, so that a checkpoint is safe to read."""
        return {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.task.state_dict() if self.average else None,
            "seconds": self.clock.seconds,
            **{name: getattr(self, name) for name in NUMBERS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.task.load_state_dict(state["average"])
        self.clock = Clock(state["seconds"])
        for name in NUMBERS:
            setattr(self, name, state.get(name, getattr(self, name)))  # older runs lack some
        self.saved = self.step
