"""What stands beside the loop: the progress bar, and the ear for SIGTERM."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from vision_attn.engine.config import TrainConfig
from vision_attn.engine.distributed import Place, leads
from vision_attn.engine.run import Run
from vision_attn.engine.training import Training

STOPPED = 128 + signal.SIGTERM
"""Exit code after SIGTERM: not 0, so that a script does not go on with a half-trained model."""


class Stop:
    """Remember that SIGTERM came, so that the loop can end between two steps."""

    heard = False
    """Whether this rank got the signal."""
    agreed = False
    """Whether any rank had got it at the last step, so that all end at the same one."""

    def hear(self, *_: object) -> None:
        """Take the signal."""
        self.heard = True

    def farewell(self, training: Training, run: Run) -> int:
        """Tell how to go on, and give the exit code."""
        if leads():
            print(
                f"stopped by SIGTERM after step {training.step}, saved {run.last}; "
                f"the same command goes on from there",
                file=sys.stderr,
            )
        return STOPPED


@contextmanager
def stopping() -> Iterator[Stop]:
    """Listen for SIGTERM; outside the main thread, where Python forbids it, nothing is heard."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop.hear)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def progress(training: Training, config: TrainConfig, place: Place, name: str) -> tqdm:
    """Show steps and time left on stderr; seldom, if that is a file."""
    return tqdm(
        desc=name,
        initial=training.step,
        total=config.steps,
        unit="step",
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 30,
        dynamic_ncols=True,
        disable=not place.leads,
    )


def show(bar: tqdm, means: dict[str, float]) -> None:
    """Put loss, rate and images/s behind the bar."""
    pace = round(means["images_per_second"])
    bar.set_postfix({"loss": means["loss"], "rate": means["rate"], "images/s": pace})
