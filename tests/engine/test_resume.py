"""Exact resume: a run that was killed ends as one that was not."""

import signal
from pathlib import Path

import pytest
import torch
from tiny_training import in_process, make_task, metrics, train, weights

EVERYTHING = {"ema": 0.9, "accumulate": 2, "layer_decay": None}


def full(folder: Path, **changes) -> None:
    """Train with dropout, batch norm, mixing, average and accumulation."""
    task = make_task(dropout=0.3, norm=True, mixup=0.4, cutmix=0.7, label_smoothing=0.1)
    train(folder, task, **(EVERYTHING | changes))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    assert in_process(full, folder) == 0
    return folder


def assert_same(folder: Path, reference: Path) -> None:
    found, expected = weights(folder), weights(reference)
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
    assert metrics(folder) == metrics(reference)
    for file in ("best.safetensors", "config.yaml", "spec.json"):
        assert (folder / file).read_bytes() == (reference / file).read_bytes()


@pytest.mark.parametrize(("workers", "step"), [(0, 2), (2, 6), (2, 11)])
def test_killed_run_ends_as_uninterrupted_one(tmp_path, reference, workers, step):
    code = in_process(full, tmp_path, workers=workers, kill=(signal.SIGKILL, step))
    assert code == -signal.SIGKILL
    assert in_process(full, tmp_path, workers=workers) == 0
    assert_same(tmp_path, reference)


def test_run_killed_at_every_step_ends_as_uninterrupted_one(tmp_path, reference):
    for step in range(13):
        every = {"save_every": 1, "kill": (signal.SIGKILL, step)}
        assert in_process(full, tmp_path, **every) == -signal.SIGKILL
    assert in_process(full, tmp_path) == 0
    assert_same(tmp_path, reference)


@pytest.mark.parametrize(
    ("step", "number"),  # 4 and 12 end where an evaluation is due
    [(4, signal.SIGTERM), (6, signal.SIGTERM), (12, signal.SIGTERM), (6, signal.SIGINT)],
)
def test_a_signal_saves_at_the_next_step_and_the_run_resumes(
    tmp_path, reference, step, number, capfd
):
    assert in_process(full, tmp_path, kill=(number, step)) == 128 + number
    assert f"stopped by {number.name} after step {step + 1}" in capfd.readouterr().err
    assert torch.load(tmp_path / "last.pt")["step"] == step + 1
    assert in_process(full, tmp_path) == 0
    assert_same(tmp_path, reference)


@pytest.mark.parametrize("optimizer", ["sgd", "lion", "muon", "adan", "lars"])
def test_optimizers_resume_exactly(tmp_path, optimizer):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    in_process(train, whole, optimizer=optimizer)
    in_process(train, cut, optimizer=optimizer, kill=(signal.SIGTERM, 6))
    in_process(train, cut, optimizer=optimizer)
    assert_same(cut, whole)


def test_finished_run_is_left_alone(tmp_path):
    train(tmp_path, steps=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    train(tmp_path, steps=3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_seconds_grow_over_resumptions(tmp_path):
    with pytest.raises(SystemExit):
        train(tmp_path, kill=(signal.SIGTERM, 6))
    before = torch.load(tmp_path / "last.pt")["seconds"]
    train(tmp_path)
    assert torch.load(tmp_path / "last.pt")["seconds"] > before > 0


def test_signal_handlers_are_put_back(tmp_path):
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    train(tmp_path, steps=3)
    assert [signal.getsignal(number) for number in numbers] == before
