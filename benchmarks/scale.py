"""What ranks cost: a training step of ViT Nano by one process, by two with DDP, and with FSDP.

All take the same 64 images a step, two ranks 32 each over gloo, and every process has one thread.
Processor time of rank 0, so that other work on the machine does not count, and neither does waiting
for the other rank. A ratio above 1 means faster than one process.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from benchmarks.timing import ratios
from vision_attn.data.batch import Labelled
from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import Place, joined
from vision_attn.engine.start import prepare
from vision_attn.engine.training import Training
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec
from vision_attn.tasks.config import ClassificationConfig

SPEC = Spec(image_size=(32, 32), names=tuple("abcdefghij"))
ONE = "one process"
BATCH, WORLD = 64, 2


def main(repeats: int = 7) -> list[str]:
    """Print one row a way to train."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")  # torch is imported already, so this is fast
    mouth, ear = context.Pipe()
    ranks = [
        context.Process(target=work, args=(rank, port, repeats, mouth)) for rank in range(WORLD)
    ]
    for rank in ranks:
        rank.start()
    lines = ear.recv()
    for rank in ranks:
        rank.join()
    print("\n".join(lines))
    return lines


def work(rank: int, port: int, repeats: int, mouth: Connection) -> None:
    """Take part as one of two ranks; rank 0 says what it measured."""
    place = {"RANK": rank, "WORLD_SIZE": WORLD, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    with joined("cpu") as here:
        alone = Place(0, 1, here.device)
        trained = {
            ONE: training("ddp", alone),
            "two ranks, ddp": training("ddp", here),
            "two ranks, fsdp": training("fsdp", here),
        }
        subjects = {name: step(one, here, name == ONE) for name, one in trained.items()}
        found = ratios(subjects, ONE, repeats, clock=time.process_time)
        if here.leads:
            mouth.send([row(name, *found[name], trained[name]) for name in found])


def training(parallel: str, place: Place) -> Training:
    """Build network and optimizer as the training loop does."""
    torch.manual_seed(0)
    task = ClassificationConfig().build(ViTConfig(size="Nano").build(SPEC), SPEC)
    return prepare(task, TrainConfig(batch_size=BATCH, parallel=parallel, precision="fp32"), place)


def step(training: Training, place: Place, alone: bool) -> Callable[[], None]:
    """Build one update, between two moments at which both ranks are ready."""
    generator = torch.Generator().manual_seed(1)
    batch = Labelled(torch.randn(BATCH, 3, 32, 32, generator=generator), torch.arange(BATCH) % 10)
    network: nn.Module = training.task
    if not alone:
        batch = Labelled(*(x[place.rank :: place.world] for x in batch))
        network = network if training.twin else DistributedDataParallel(network)

    def update() -> None:
        if place.leads or not alone:
            network(batch)["loss"].backward()
            training.optimizer.step()
            training.optimizer.zero_grad()
        dist.barrier()

    return update


def row(name: str, seconds: float, ratio: float, training: Training) -> str:
    """Tell the pace, and what the rank holds of weights, gradients and optimizer."""
    kept = sum(local(x).numel() for x in training.task.parameters())
    for state in training.optimizer.state.values():
        kept += sum(local(x).numel() for x in state.values())
    kept += sum(local(x).numel() for x in training.task.parameters() if x.requires_grad)
    return (
        f"{name:16} {seconds * 1e3:7.1f} ms a step  {BATCH / seconds:6.0f} images/s  "
        f"ratio {ratio:5.2f}  {kept * 4 / 2**20:5.1f} MiB a rank"
    )


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Give this rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


if __name__ == "__main__":
    main()
