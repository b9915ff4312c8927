"""A moving average of the weights, which is often better than the weights themselves."""

from copy import deepcopy

import torch

from vision_attn.tasks.task import Task


class Average:
    """Keep an exponential moving average of a task's parameters and buffers.

    The decay rises as (1 + step) / (10 + step) up to its final value, so that short runs are not
    dominated by the first weights. Polyak, Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(self, task: Task, decay: float):
        self.decay = decay
        self.task = deepcopy(task).requires_grad_(False)

    @torch.no_grad()
    def update(self, task: Task, step: int) -> None:
        """Move the average towards the weights after update number `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        latest = task.state_dict()
        for name, average in self.task.state_dict().items():
            if average.is_floating_point():
                average.lerp_(latest[name], 1 - decay)
            else:
                average.copy_(latest[name])
