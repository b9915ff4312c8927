"""Timing side by side in one process: turns interleave, so a drifting machine hits all alike."""

import statistics
import time
from collections.abc import Callable


def ratios(
    subjects: dict[str, Callable[[], object]],
    reference: str,
    repeats: int = 7,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, tuple[float, float]]:
    """Give for each subject the median seconds and the median ratio to the reference's turn."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(warmup + repeats):
        for name, run in subjects.items():
            start = clock()
            run()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return {
        name: (
            statistics.median(times),
            statistics.median(b / a for a, b in zip(times, seconds[reference], strict=True)),
        )
        for name, times in seconds.items()
    }
