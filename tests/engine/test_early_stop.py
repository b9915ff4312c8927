"""A run ends when the score no longer rises, wherever it was interrupted."""

import signal

import pytest
import torch
from safetensors import safe_open
from tiny_training import SPEC, Net, in_process, metrics, train

from vision_attn.tasks.classification import Classification
from vision_attn.tasks.config import ClassificationConfig

SCORES = (0.3, 0.5, 0.4, 0.5, 0.9, 0.9, 0.9)


class Scripted(Classification):
    """A task whose scores are known beforehand, one for every five updates."""

    def __init__(self):
        torch.manual_seed(3)
        super().__init__(ClassificationConfig(), Net(), SPEC)
        self.register_buffer("updates", torch.tensor(0))

    def forward(self, batch):
        self.updates += 1
        return super().forward(batch)

    def evaluate(self, batches):
        return {"accuracy": SCORES[int(self.updates) // 5 - 1]}


def patient(folder, patience=2, **changes) -> None:
    train(folder, Scripted(), steps=35, patience=patience, **changes)


@pytest.mark.parametrize(("patience", "end"), [(1, 15), (2, 20), (3, 35)])
def test_a_run_ends_after_so_many_evaluations_without_a_better_one(tmp_path, capsys, patience, end):
    patient(tmp_path, patience)
    assert torch.load(tmp_path / "last.pt")["step"] == end
    assert metrics(tmp_path)[-1] == {"step": end, "valid_accuracy": SCORES[end // 5 - 1]}
    said = f"ends at step {end}: no better score in {patience} evaluations"
    assert (said in capsys.readouterr().err) == (end < 35)


def test_the_best_weights_are_those_of_the_best_score(tmp_path):
    patient(tmp_path)
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        assert '"step": 10, "score": 0.5' in file.metadata()["vision_attn"]


def test_a_run_that_ended_early_is_left_alone(tmp_path):
    patient(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    patient(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGTERM, 19), (signal.SIGTERM, 16), (signal.SIGKILL, 18)]
)
def test_an_interrupted_run_ends_at_the_same_step(tmp_path, number, step):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    patient(whole)
    assert in_process(patient, cut, kill=(number, step)) != 0
    assert in_process(patient, cut) == 0
    assert metrics(cut) == metrics(whole)
    assert torch.load(cut / "last.pt")["step"] == 20
    assert (cut / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


def test_ranks_end_together(tmp_path):
    assert in_process(patient, tmp_path, world=2) == 0
    assert torch.load(tmp_path / "last.pt")["step"] == 20
