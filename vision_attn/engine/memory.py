"""Keep freed memory in the process: the next step, or batch, needs the same blocks again."""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of mallopt(3), in bytes."""
UNSET = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Ask the GNU C library not to hand large freed blocks back to the system; tell if it heard.

    By default every large activation is mapped, cleared page by page and unmapped again in every
    step, which costs small networks on a CPU a tenth of their time. Lasts as long as the process.
    Does nothing where the user has set the allocator's variables or there is another C library.
    """
    if sys.platform != "linux" or any(name in os.environ for name in UNSET):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    largest = 2**31 - 1
    return bool(mallopt(MMAP_THRESHOLD, 2**30) and mallopt(TRIM_THRESHOLD, largest))
