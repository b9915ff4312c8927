import dataclasses
import json
from typing import NamedTuple

import pytest
from tiny_training import SPEC

from vision_attn.engine.run import FREE, Run

RECIPE = {
    "seed": 3,
    "data": {"name": "scenes", "workers": 0, "sizes": (2, 3)},
    "train": {"rate": 0.1},
}


def test_open_reads_what_create_wrote(tmp_path):
    Run.create(tmp_path / "run", RECIPE, SPEC)
    run = Run.open(tmp_path / "run")
    assert run.recipe == json.loads(json.dumps(RECIPE))
    assert run.spec == SPEC


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no run folder: .*config\.yaml is missing"):
        Run.open(tmp_path)


def test_other_recipe_in_the_same_folder_is_refused_by_field(tmp_path):
    Run.create(tmp_path, RECIPE, SPEC).log(1, loss=0.5)
    other = RECIPE | {"seed": 5, "train": {"rate": 0.2, "clip": 1}}
    with pytest.raises(ValueError) as caught:
        Run.create(tmp_path, other, SPEC)
    message = str(caught.value)
    for part in ("seed was 3 and is 5", "train.rate was 0.1 and is 0.2", "train.clip was None"):
        assert part in message
    assert "data." not in message
    assert f"init={tmp_path} starts it from these weights" in message
    assert Run.open(tmp_path).recipe["seed"] == 3


def test_a_run_that_has_not_begun_may_get_another_recipe(tmp_path):
    Run.create(tmp_path, RECIPE, SPEC)
    Run.create(tmp_path, RECIPE | {"seed": 5}, SPEC)
    assert Run.open(tmp_path).recipe["seed"] == 5


def test_other_data_in_the_same_folder_is_refused(tmp_path):
    Run.create(tmp_path, RECIPE, SPEC).log(1, loss=0.5)
    with pytest.raises(ValueError, match="specification"):
        Run.create(tmp_path, RECIPE, dataclasses.replace(SPEC, names=("a", "b", "d")))


def test_fields_without_influence_may_change(tmp_path):
    free = {"data": {**RECIPE["data"], "workers": 2}, "run": "elsewhere"}
    free["train"] = {"rate": 0.1, "log_every": 1, "save_every": 2, "wandb": "offline"}
    Run.create(tmp_path, RECIPE, SPEC).log(1, loss=0.5)
    Run.create(tmp_path, RECIPE | free, SPEC)
    assert Run.open(tmp_path).recipe["data"]["workers"] == 2
    assert "train.evaluate_every" not in FREE  # it decides which weights are the best


def test_metrics_are_read_back_and_cut(tmp_path):
    run = Run.create(tmp_path, RECIPE, SPEC)
    run.log(2, loss=0.5)
    run.log(4, loss=float("nan"), rate=0.1)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert run.metrics() == [{"step": 2, "loss": 0.5}, {"step": 4, "loss": None, "rate": 0.1}]
    assert run.lines == 2
    run.cut_metrics(1)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 2, "loss": 0.5}\n'


def test_problems_are_listed(tmp_path):
    class Problem(NamedTuple):
        path: str
        reason: str

    run = Run.create(tmp_path, RECIPE, SPEC)
    run.write_problems([Problem("a.jpg", "truncated"), Problem("b.jpg", "empty")])
    lines = (tmp_path / "problems.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"path": "b.jpg", "reason": "empty"}
    assert len(lines) == 2
