"""The training loop: time is the step, and everything random is a function of it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from vision_attn.data.batch import Batch, to
from vision_attn.engine.checkpoint import save, save_weights
from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import (
    find,
    leads,
    mean_over_ranks,
    share_buffers,
    without_exchange,
)
from vision_attn.engine.mirror import mirrored
from vision_attn.engine.optim import rate_at, set_rate
from vision_attn.engine.run import Run
from vision_attn.engine.sharding import lent, whole
from vision_attn.engine.shards import save_shards
from vision_attn.engine.start import precision, prepare, resume
from vision_attn.engine.training import Training
from vision_attn.engine.watch import progress, show, stopping, tell_early
from vision_attn.tasks.task import Task


class Batches(Protocol):
    """Give this rank's share of every batch, without end."""

    def batches(self, start_step: int = 0) -> Iterator[Any]:
        """Give batches from a step on; each is a function of its step."""


def fit(
    task: Task, train: Batches, valid: Iterable[Any], config: TrainConfig, run: Run, seed: int
) -> None:
    """Train a task to the end of its recipe, from the run's last checkpoint if there is one.

    Reseeds torch's global generators at every step. SIGTERM and Ctrl-C save at the next step and
    raise SystemExit, 143 and 130. Raises FloatingPointError, before the weights are touched, if the
    loss or the gradient is not finite, and ValueError if ranks and pieces cannot share the batch
    evenly.
    """
    place = find(config.device)
    autocast = precision(config, place.device)
    training = prepare(task, config, place)
    resume(training, run)
    if over(training, config):
        return
    run.cut_metrics(training.lines)
    whole_weights = place.world > 1 and not training.twin
    network = DistributedDataParallel(task) if whole_weights else task
    optimizer, parameters = training.optimizer, list(task.parameters())

    with (
        stopping() as stop,
        mirrored(run, config),
        progress(training, config, place, run.folder.name) as bar,
    ):
        training.clock.start()
        if training.evaluated < training.step and due(training, config.evaluate_every, config):
            evaluate(training, valid, run, autocast)
            keep(training, run)
        steps = range(training.step, config.steps)
        for step, batch in zip(steps, train.batches(training.step), strict=False):
            if over(training, config):
                tell_early(training, run)
                break
            seed_step(seed, step, place.rank)
            task.at(step, config.steps)
            set_rate(optimizer, rate_at(step, config))
            numbers = backward(network, to(batch, place.device), config.accumulate, autocast)
            numbers["gradient_norm"] = whole(clip_grad_norm_(parameters, config.clip or math.inf))
            means = mean_over_ranks(numbers | {"stop": torch.tensor(stop.heard > 0)}, place.device)
            stop.agreed = means.pop("stop") > 0
            check_finite(means, training, run)
            optimizer.step()
            optimizer.zero_grad()
            training.advance()

            bar.update()
            if due(training, config.log_every, config):
                show(bar, log(means, step, training, config, run))
            if stop.agreed:
                keep(training, run)
                break
            if due(training, config.evaluate_every, config):
                evaluate(training, valid, run, autocast)
            if due(training, config.save_every, config) or over(training, config):
                keep(training, run)
    if stop.agreed or stop.heard:
        raise SystemExit(stop.farewell(training, run))


def due(training: Training, every: int, config: TrainConfig) -> bool:
    """Tell whether something done every so many steps, and after the last, is due now."""
    return training.step % every == 0 or training.step == config.steps


def over(training: Training, config: TrainConfig) -> bool:
    """Tell whether the last step was evaluated, or the score has not risen for too long."""
    patient = config.patience is None or training.stale < config.patience
    return training.evaluated == config.steps or not patient


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make dropout, drop path and mixing functions of the step.

    The one place that seeds torch's global generators, from which torch's own layers draw.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))


def backward(
    network: nn.Module, batch: Batch, pieces: int, autocast: torch.autocast
) -> dict[str, Tensor]:
    """Leave the gradient of the batch's mean loss in the parameters, and give the mean numbers."""
    found: list[dict[str, Tensor]] = []
    for piece in split(batch, pieces):
        last = len(found) == pieces - 1
        with nullcontext() if last else without_exchange(network):
            with autocast:
                numbers = network(piece)
            (numbers["loss"] / pieces).backward()
        found.append({name: number.detach() for name, number in numbers.items()})
    return {name: torch.stack([x[name] for x in found]).mean() for name in found[0]}


def split(batch: Batch, pieces: int) -> list[Batch]:
    """Cut a batch into equal pieces, so that the mean of their losses is that of the batch."""
    if len(batch[0]) % pieces:
        raise ValueError(
            f"accumulate must divide the images of a batch on a rank, got accumulate={pieces} and "
            f"{len(batch[0])} images"
        )
    return [type(batch)(*part) for part in zip(*(_cut(x, pieces) for x in batch), strict=True)]


def _cut(items: Tensor | list[Any], pieces: int) -> Sequence[Any]:
    """Cut a tensor or a list, perhaps an empty one, into equal pieces."""
    if isinstance(items, Tensor):
        return items.chunk(pieces)
    size = len(items) // pieces
    return [items[piece * size : (piece + 1) * size] for piece in range(pieces)]


def check_finite(numbers: dict[str, float], training: Training, run: Run) -> None:
    """Raise FloatingPointError with step, numbers and where to go on from."""
    if all(math.isfinite(x) for x in numbers.values()):
        return
    found = ", ".join(f"{name} {number:g}" for name, number in numbers.items())
    good = f"last good checkpoint: {run.last} (step {training.saved})"
    raise FloatingPointError(
        f"training must stay finite, got {found} in step {training.step + 1}; "
        f"{good if training.saved else 'no checkpoint was saved yet'}; try a lower train.rate, "
        f"a longer train.warmup or a smaller train.clip"
    )


def log(
    means: dict[str, float], step: int, training: Training, config: TrainConfig, run: Run
) -> dict[str, float]:
    """Log the numbers of a step with its rate and the speed, and give all of these."""
    speed = training.clock.images_per_second(config.batch_size)
    numbers = means | {"rate": rate_at(step, config), "images_per_second": speed}
    run.log(training.step, **numbers, seconds=training.clock.seconds)
    return numbers


def evaluate(training: Training, valid: Iterable[Any], run: Run, autocast: torch.autocast) -> None:
    """Log what the weights (their average, if there is one) are worth, and keep the best."""
    task = training.average.task if training.average else training.task
    share_buffers(task)
    with lent(task, training.twin) as task:
        with training.clock.paused(), autocast:
            numbers = task.evaluate(valid)
        training.evaluated = training.step
        measured = {f"valid_{name}": number for name, number in numbers.items()}
        run.log(training.step, **measured, seconds=training.clock.seconds)
        score = numbers[task.monitor]
        training.stale += 1
        if score > training.best:
            training.best, training.stale = score, 0
            if leads():
                save_weights(run.best, task.model, run.spec, step=training.step, score=score)


def keep(training: Training, run: Run) -> None:
    """Save everything that the run is, so that it can go on from here."""
    training.lines, training.saved = run.lines, training.step
    with training.clock.paused():
        if training.twin:
            save_shards(run.last, training.state())
        elif leads():
            save(run.last, training.state())
