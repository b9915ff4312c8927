"""What stands beside the loop: the progress bar, and the ear for signals to stop."""

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

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends a run: a scheduler's polite request, and Ctrl-C."""


class Stop:
    """Remember that a signal came, so that the loop can end between two steps."""

    heard = 0
    """Number of the signal that this rank got, 0 for none."""
    agreed = False
    """Whether any rank had got one at the last step, so that all end at the same one."""

    def hear(self, number: int, *_: object) -> None:
        """Take a signal; a second Ctrl-C does not wait for the step."""
        if self.heard and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.heard = number

    def farewell(self, training: Training, run: Run) -> int:
        """Tell how to go on, and give the exit code: not 0, so that a script does not go on."""
        number = signal.Signals(self.heard or signal.SIGTERM)
        if leads():
            print(
                f"stopped by {number.name} after step {training.step}, saved {run.last}; "
                f"the same command goes on from there",
                file=sys.stderr,
            )
        return 128 + number


@contextmanager
def stopping() -> Iterator[Stop]:
    """Listen for `SIGNALS`; outside the main thread, where Python forbids it, hear nothing."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.hear) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def tell_early(training: Training, run: Run) -> None:
    """Say on stderr that a run ends before its last step, and why."""
    if leads():
        why = f"no better score in {training.stale} evaluations"
        tqdm.write(f"{run.folder} ends at step {training.step}: {why}", file=sys.stderr)
