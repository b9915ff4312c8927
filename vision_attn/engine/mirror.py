"""Mirrors of the metrics: wandb and TensorBoard; whatever they do, the run goes on."""

import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import leads
from vision_attn.engine.run import Run


class Guarded:
    """Mirror metrics until the first failure, which is reported as a warning and ends only this."""

    def __init__(self, name: str, open: Callable[[], Any]):
        self.name = name
        self.service: Any = None
        self.service = self._try(open)

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Repeat one line of the metrics."""
        if self.service is not None:
            self._try(lambda: self.service.log(step, numbers))

    def close(self) -> None:
        """Let the service finish."""
        if self.service is not None:
            self._try(lambda: self.service.close())

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:
            self.service = None
            warnings.warn(
                f"{self.name} failed and is off for the rest of this run, metrics.jsonl has "
                f"everything: {type(error).__name__}: {error}",
                stacklevel=2,
            )
            return None


class Wandb:
    """Send metrics to Weights & Biases, or to its offline folder inside the run."""

    def __init__(self, run: Run, mode: Literal["offline", "online"]):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read once, when wandb is imported
        import wandb

        name = run.folder / "wandb-id.txt"
        if not name.exists():
            name.write_text(uuid.uuid4().hex[:8])
        self.run = wandb.init(
            project="vision_attn",
            name=run.folder.name,
            id=name.read_text(),
            resume="allow",
            mode=mode,
            dir=run.folder,
            config=run.recipe,
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Send one line."""
        self.run.log(numbers, step=step)

    def close(self) -> None:
        """Wait until everything is sent."""
        self.run.finish()


class TensorBoard:
    """Write TensorBoard events into the run folder."""

    def __init__(self, run: Run):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(run.folder / "tensorboard")

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Write one line, a scalar each."""
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Write what is buffered."""
        self.writer.close()


@contextmanager
def mirrored(run: Run, config: TrainConfig) -> Iterator[None]:
    """Mirror a run's metrics as the config says, as long as the context lasts; on rank 0 only."""
    mirrors = []
    if leads() and (mode := config.wandb) != "off":
        mirrors.append(Guarded("wandb", lambda: Wandb(run, mode)))
    if leads() and config.tensorboard:
        mirrors.append(Guarded("TensorBoard", lambda: TensorBoard(run)))
    run.mirrors.extend(mirrors)
    try:
        yield
    finally:
        for mirror in mirrors:
            run.mirrors.remove(mirror)
            mirror.close()
