"""The benchmarks that `make bench` runs are there, and their clock counts as it says."""

import ast
import time
from pathlib import Path

import pytest

from benchmarks.timing import ratios

ROOT = Path(__file__).parents[1] / "benchmarks"
MODULES = sorted(path.stem for path in ROOT.glob("*.py") if path.stem not in ("__main__", "timing"))


def constant(path: Path, name: str) -> object:
    """Read a constant of a module without running it."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    raise LookupError(name)


def test_every_benchmark_is_run_by_name():
    assert sorted(constant(ROOT / "__main__.py", "ALL")) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_can_be_imported_and_run(name):
    if name == "explain":
        pytest.importorskip("torchcam", reason="torch-cam comes with the extra bench")
    module = __import__(f"benchmarks.{name}", fromlist=["main"])
    assert callable(module.main)
    assert module.__doc__


def test_a_ratio_is_the_reference_over_the_subject():
    found = ratios({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, "slow", 3, 0)
    assert found["slow"][1] == 1
    assert found["fast"][1] > 2
    assert found["slow"][0] >= 0.02
