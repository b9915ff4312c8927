import json
import os
from pathlib import Path

import pytest
import torch
from tiny_training import in_process, metrics, train, weights

from vision_attn.engine.distributed import find, joined, mean_over_ranks


def test_two_ranks_give_the_result_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert in_process(train, one, ema=0.9) == 0
    assert in_process(train, two, ema=0.9, world=2) == 0
    assert_close(two, one)


def test_two_ranks_with_workers_and_accumulation_give_the_result_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert in_process(train, one, optimizer="muon") == 0
    assert in_process(train, two, optimizer="muon", accumulate=3, workers=1, world=2) == 0
    assert_close(two, one)


def assert_close(folder: Path, reference: Path) -> None:
    expected = weights(reference)
    for name, tensor in weights(folder).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    for line, other in zip(metrics(folder), metrics(reference), strict=True):
        assert line == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_ranks_that_cannot_share_a_batch_are_refused(tmp_path):
    assert in_process(train, tmp_path, batch_size=12, accumulate=4, world=2) == 1
    assert not (tmp_path / "last.pt").exists()


def average_of_ranks(path: Path) -> None:
    with joined("cpu") as place:
        means = mean_over_ranks({"rank": torch.tensor(place.rank)}, place.device)
        (path / f"{place.rank}.json").write_text(json.dumps([place.world, means["rank"]]))
    assert find("cpu").world == 1


def test_scalars_are_averaged_and_the_group_is_left(tmp_path):
    assert in_process(average_of_ranks, tmp_path, world=2) == 0
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [2, 0.5]


def test_alone_there_is_one_rank():
    assert "WORLD_SIZE" not in os.environ
    with joined("cpu") as place:
        assert (place.rank, place.world, place.device) == (0, 1, torch.device("cpu"))


@pytest.mark.parametrize("name", ["gpu", "nonsense"])
def test_unknown_device_is_named(name):
    with pytest.raises(ValueError, match=f"device.*{name}"):
        find(name)
