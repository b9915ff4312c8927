"""A tiny model, data and recipe that the engine's tests train, here or in a process of its own."""

import multiprocessing
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vision_attn.data.batch import Key, Labelled
from vision_attn.data.loader import Loader, share
from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import joined
from vision_attn.engine.loop import fit
from vision_attn.engine.run import TIMING, Run
from vision_attn.spec import Spec
from vision_attn.tasks.classification import Classification
from vision_attn.tasks.config import ClassificationConfig

SPEC = Spec(image_size=(5, 7), names=("a", "b", "c"), channels=2, mean=(0, 0), std=(1, 1))
SEED = 5


class Net(nn.Module):
    """A convolution, a norm with buffers, dropout and a head."""

    def __init__(self, dropout: float = 0.0, norm: bool = False):
        super().__init__()
        self.patch_embed = nn.Conv2d(2, 11, 3)
        self.norm = nn.BatchNorm2d(11) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(11, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.patch_embed(images)).relu().mean((2, 3))))


class Noise:
    """Noise whose mean tells its class; a function of the keys."""

    def __init__(self, length: int, seed: int, size: tuple[int, int] = (5, 7)):
        self.length, self.seed, self.size = length, seed, size

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, keys: list[Key]) -> Labelled:
        labels = torch.tensor([index % 3 for _, index in keys])
        images = []
        for epoch, index in keys:
            generator = torch.Generator().manual_seed(self.seed + 10_007 * epoch + index)
            images.append(torch.randn(2, *self.size, generator=generator))
        return Labelled(torch.stack(images) + labels[:, None, None, None] - 1, labels)


class Killed(Loader):
    """A loader that sends its own process a signal before it gives the batch of a step."""

    signal, step = signal.SIGKILL, -1

    def batches(self, start_step: int = 0) -> Iterator[Labelled]:
        for step, batch in enumerate(super().batches(start_step), start_step):
            if step == self.step:
                os.kill(os.getpid(), self.signal)
            yield batch


def make_task(dropout: float = 0.0, norm: bool = False, **config: float) -> Classification:
    torch.manual_seed(3)
    return Classification(ClassificationConfig(**config), Net(dropout, norm), SPEC)


def make_config(**changes: Any) -> TrainConfig:
    """Give settings under which a training is the same on every processor: auto may be bf16."""
    every = {"evaluate_every": 5, "save_every": 4, "log_every": 3, "precision": "fp32"}
    return TrainConfig(
        **({"steps": 13, "batch_size": 12, "rate": 0.02, "warmup": 2, **every} | changes)
    )


def train(
    folder: Path,
    task: Classification | None = None,
    *,
    workers: int = 0,
    kill: tuple[int, int] = (signal.SIGKILL, -1),
    **changes: Any,
) -> Classification:
    """Train in a run folder as one of the ranks, if there are any."""
    task = task or make_task()
    config = make_config(**changes)
    with joined() as place:
        ranks = {"workers": workers, "rank": place.rank, "world": place.world}
        loader = Killed(Noise(29, seed=1), config.batch_size, seed=SEED, **ranks)
        loader.signal, loader.step = kill
        valid = share(Noise(17, seed=7_919), 4, **ranks)
        run = Run.create(folder, {"seed": SEED, "train": changes}, SPEC)
        fit(task, loader, valid, config, run, SEED)
    return task


def in_process(function: Callable[..., Any], *arguments: Any, world: int = 1, **named: Any) -> int:
    """Call a function in new processes, one a rank, and give the first exit code that is not 0."""
    context = multiprocessing.get_context("fork")  # torch is imported already, so this is fast
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def work(rank: int) -> None:
        torch.set_num_threads(1)  # threads of the parent do not survive a fork
        if world > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world}
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in place.items()})
        function(*arguments, **named)

    processes = [context.Process(target=work, args=(rank,)) for rank in range(world)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork beside threads
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    return next((p.exitcode for p in processes if p.exitcode), 0)


def weights(folder: Path) -> dict[str, Tensor]:
    """Read what the last checkpoint says of the task, its average and the optimizer, flat."""
    return dict(_flat(torch.load(folder / "last.pt", weights_only=True)))


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics without what depends on the clock."""
    return [{k: v for k, v in x.items() if k not in TIMING} for x in Run.open(folder).metrics()]


def _flat(entry: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(entry, Tensor):
        yield name, entry
    elif isinstance(entry, dict):
        for key, value in entry.items():
            yield from _flat(value, f"{name}.{key}")
