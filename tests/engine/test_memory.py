"""Freed blocks stay in the process: using them again faults no pages in."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's allocator")
FAULTS = """
import resource, torch
from vision_attn.engine.memory import keep_freed_memory
kept = keep_freed_memory()
def step():
    for _ in range(8):
        a, b = torch.ones(2**21), torch.ones(2**20)
    del a, b
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_later_steps_take_almost_no_new_pages():
    kept, faults = run()
    assert kept == "True"
    # Given back, each of the 64 tensors would fault 1,024 or 2,048 pages in again.
    assert faults < 64 * 1024 / 8


def test_the_users_own_settings_are_left_alone():
    kept, _ = run(MALLOC_TRIM_THRESHOLD_="100000", MALLOC_MMAP_THRESHOLD_="100000")
    assert kept == "False"
