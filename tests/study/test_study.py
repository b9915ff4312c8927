"""A study from its plan to its report: what is finished is not repeated, what is begun goes on."""

import csv
import json
from dataclasses import replace

import pytest
from PIL import Image
from tiny_study import write_study

from vision_attn.__main__ import main
from vision_attn.data.images import Split
from vision_attn.engine.run import Run
from vision_attn.study import cost, running
from vision_attn.study.plan import read_plan

ONE = ["shares=[0.3]", "networks.a.init=null", "fine_tuning={}"]
"""Overrides that leave two trainings."""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "timed", lambda training: 30.0)
    return write_study(tmp_path)


def test_a_study_is_trained_measured_and_reported(path, monkeypatch, capsys):
    monkeypatch.undo()  # the real timing
    first = [*ONE, "networks={a: {recipe: a.yaml}}"]
    assert main(["study", str(path), *first]) == 0  # what the fine-tuned ones start from
    init = path.parent / "study" / "a_scratch_0.3_seed3"
    said = capsys.readouterr().out
    assert (
        "1 trainings of 4 steps of 128 images: 1 networks and starts x 1 shares x 1 seeds" in said
    )
    assert "to go: 1 trainings, 4 steps" in said
    assert main(["study", str(path), f"networks.a.init={init}"]) == 0
    said = capsys.readouterr().out
    assert "finished: 1, half done: 0; to go: 5 trainings, 20 steps" in said
    assert said.endswith(f"report: {path.parent / 'study' / 'report.md'}\n")
    folder = path.parent / "study"
    rows = list(csv.DictReader((folder / "trainings.csv").read_text().splitlines()))
    assert [(row["network"], row["start"], row["share"]) for row in rows] == [
        (network, start, share)
        for network, start in (("a", "scratch"), ("a", "fine_tuned"), ("b", "scratch"))
        for share in ("0.3", "1.0")
    ]
    cells = json.loads((folder / "report.json").read_text())["cells"]
    assert {(cell["n"], cell["interval"], *cell["seeds"]) for cell in cells} == {(1, None, 3)}
    Image.open(folder / "figure.png").verify()
    assert "6 of 6 trainings" in (folder / "report.md").read_text()


def test_the_test_split_is_measured_once_a_training_and_by_the_last_weights(path, monkeypatch):
    asked = []

    def measured(split, keys):
        if split.augment is None and len(split) == 10:  # 12 of 46 pictures test, 4 validate
            asked.append(keys)
        return original(split, keys)

    original = Split.__getitems__
    plan = read_plan(path, *ONE, "settings.data.test_share=0.22")
    monkeypatch.setattr(Split, "__getitems__", measured)
    running.study(plan, command="again")
    assert len(asked) == 2
    running.study(plan, command="again")
    assert len(asked) == 2
    for training in plan.trainings:
        lines = Run.open(training.folder).metrics()
        assert [line["step"] for line in lines if "valid_accuracy" in line] == [4]


def test_what_is_finished_is_skipped_and_what_is_begun_goes_on(path, monkeypatch, capsys):
    plan = read_plan(path, *ONE, "settings.train.save_every=2")
    first, second = plan.trainings
    running.carry_out(first)
    stopped = replace(second.recipe.train, steps=4, save_every=2)
    monkeypatch.setattr("vision_attn.engine.loop.check_finite", _stop_at(3))
    with pytest.raises(KeyboardInterrupt):
        running.train(second.recipe.model_copy(update={"train": stopped}))
    monkeypatch.undo()
    trained = []

    def train(recipe):
        trained.append(recipe.run)
        return original(recipe)

    original = running.train
    monkeypatch.setattr(running, "train", train)
    monkeypatch.setattr(cost, "timed", lambda training: 30.0)
    capsys.readouterr()
    report = running.study(plan, command="again")
    assert "finished: 1, half done: 1; to go: 1 trainings, 2 steps" in capsys.readouterr().out
    assert trained == [second.recipe.run]
    steps = [line["step"] for line in Run.open(second.folder).metrics() if "loss" in line]
    assert steps == [1, 2, 3, 4]
    assert "2 of 2 trainings" in report.read_text()


def _stop_at(step):
    def check(means, training, run):
        if training.step == step - 1:
            raise KeyboardInterrupt

    return check


def test_trainings_of_other_settings_are_not_taken_for_finished(path):
    running.study(read_plan(path, *ONE), command="again")
    with pytest.raises(ValueError, match=r"other settings: train\.rate was 0\.001 and is 0\.01"):
        running.study(read_plan(path, *ONE, "settings.train.rate=0.01"), command="again")


def test_trainings_from_before_a_setting_was_there_are_finished_too(path, monkeypatch):
    plan = read_plan(path, *ONE)
    report = running.study(plan, command="again").read_text()
    kept = plan.trainings[0].folder / running.RESULT
    entries = json.loads(kept.read_text())
    del entries["recipe"]["train"]["parallel"], entries["recipe"]["tune"]
    kept.write_text(json.dumps(entries))
    monkeypatch.setattr(running, "train", None)
    assert running.study(plan, command="again").read_text() == report


def test_a_plan_tells_the_cost_of_a_part_and_trains_nothing(path, capsys):
    assert main(["study", str(path), "seeds=[1, 2]", "--plan", "--part", "1/2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "12 trainings of 4 steps of 128 images: 3 networks and starts x 2 shares x 2 seeds",
        "this part: 6 of them",
        "finished: 0, half done: 0; to go: 6 trainings, 24 steps",
        "a: 30 s a training, from 20 steps",
        "b: 30 s a training, from 20 steps",
        "estimate: 3 minutes",
    ]
    assert not (path.parent / "study").exists()


def test_the_cost_is_told_before_the_first_training(path, monkeypatch, capsys):
    told = []

    def carry_out(training):
        told.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "carry_out", carry_out)
    with pytest.raises(KeyboardInterrupt):
        running.study(read_plan(path, *ONE), command="again")
    assert "to go: 2 trainings, 8 steps" in told[0]
    assert "estimate: " in told[0]


def test_a_timing_reads_no_test_image_and_leaves_nothing(path, monkeypatch):
    monkeypatch.undo()
    (training, _) = read_plan(path, *ONE).trainings
    assert cost.timed(training) > 0
    assert not training.folder.exists()


def test_data_without_a_test_split_are_refused_before_a_training(path, monkeypatch, capsys):
    monkeypatch.undo()
    assert main(["study", str(path), *ONE, "settings.data.test_share=0"]) == 2
    assert "needs a test split" in capsys.readouterr().err
    assert not (path.parent / "study").exists()


@pytest.mark.parametrize("part", ["0/2", "3/2", "half"])
def test_a_part_that_is_none_is_wrong_usage(path, part, capsys):
    with pytest.raises(SystemExit):
        main(["study", str(path), "--part", part])
    assert "must be K/N" in capsys.readouterr().err


def test_a_study_is_not_for_torchrun(path, monkeypatch):
    plan = read_plan(path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="not by torchrun"):
        running.study(plan, command="again")
