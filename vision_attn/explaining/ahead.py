"""Work done in threads: ahead of the one who waits for it, or in turn with it."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")
MOST = 16
"""Threads that are started at most unless more are asked for."""


def ahead(work: Callable[[Job], Done], jobs: Iterable[Job], workers: int) -> Iterator[Done]:
    """Give what comes of every job, in order; no more than `workers` + 1 are under way.

    An error of a job is raised where its result would have come.
    """
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(workers, initializer=_give_way) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_turn(
    work: Callable[[Job], Done], batches: Iterable[Sequence[Job]], workers: int
) -> Iterator[list[Done]]:
    """Give what comes of every batch, in order; nothing goes on while the one who asks is busy."""
    with ThreadPoolExecutor(workers) as pool:
        for jobs in batches:
            yield list(pool.map(work, jobs))


def _give_way() -> None:
    """Let whoever waits for this thread go first where both want a core.

    Linux gives every thread its own niceness.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # where that is forbidden, it works all the same
            niceness = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness + 10, 19))


def cores() -> int:
    """Count the cores that this process may use, up to `MOST`."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST)
    return min(os.cpu_count() or 1, MOST)
