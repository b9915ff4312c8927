"""A study's file becomes trainings, or lines about what is wrong with it, before torch."""

import subprocess
import sys
from itertools import pairwise

import pytest
from tiny_study import ROOT, write_study

from vision_attn.checking.mistakes import RecipeError
from vision_attn.study.plan import read_plan


def mistakes(folder, *overrides):
    with pytest.raises(RecipeError) as caught:
        read_plan(write_study(folder), *overrides)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_every_network_start_share_and_seed_is_a_training(tmp_path):
    plan = read_plan(write_study(tmp_path), "seeds=[3, 5]")
    about = [(x.seed, x.network, x.start, x.share) for x in plan.trainings]
    assert about == [
        (seed, network, start, share)
        for seed in (3, 5)
        for network, start in (("a", "scratch"), ("a", "fine_tuned"), ("b", "scratch"))
        for share in (0.3, 1.0)
    ]
    assert len({x.folder for x in plan.trainings}) == 12


def test_the_study_decides_share_seed_start_and_when_to_evaluate(tmp_path):
    plan = read_plan(write_study(tmp_path), "seeds=[3, 5]")
    for training in plan.trainings:
        recipe = training.recipe
        assert (recipe.seed, recipe.data.train_share) == (training.seed, training.share)
        assert recipe.data.share_seed == (training.seed if training.share < 1 else 0)
        assert recipe.train.evaluate_every == recipe.train.steps == 4
        tuned = training.start == "fine_tuned"
        assert recipe.init == (str(tmp_path / "init") if tuned else None)
        assert recipe.train.rate == (2e-3 if tuned else 1e-3)
        assert recipe.model.name == {"a": "vit", "b": "resnet"}[training.network]


def test_the_parts_of_two_calls_have_as_much_of_each_network(tmp_path):
    plan = read_plan(write_study(tmp_path))
    halves = [[x.network for x in plan.trainings[k::2]] for k in (0, 1)]
    assert halves[0] == halves[1]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("share=[1]", "share: unknown key; did you mean shares? (got [1])"),
        ("shares=[0, 1]", "shares: must be one or more numbers in (0, 1], got [0.0, 1.0]"),
        ("shares=[1, 1]", "shares: must differ from each other, got [1.0, 1.0]"),
        ("seeds=[-1]", "seeds: must be one or more numbers from 0 up, got [-1]"),
        ("seeds=[]", "seeds: must be one or more numbers from 0 up, got []"),
        ("networks={}", "networks: must name at least one network with its recipe"),
        ("networks.a.recip=x", "networks.a.recip: unknown key; did you mean recipe?"),
        ("networks.a.recipe=3", "networks.a.recipe: must be a valid string (got 3)"),
        ("networks.c.init=null", "networks.c.recipe: missing; name a recipe beside this file"),
        ("settings.seed=1", "settings.seed: the study decides it; leave it out"),
        ("settings.data.train_share=0.5", "settings.data.train_share: the study decides it; leave"),
        ("networks.a.init=null", "fine_tuning: is for networks that have an init, got none; leave"),
        ("settings.train.stepz=1", "train.stepz: unknown key; did you mean steps? (got 1)"),
        (
            "settings.train.patience=2",
            "train.patience: must be null, for every training of a study",
        ),
        ("networks.a.init=no/where", 'init: no such file or run folder (got "no/where")'),
    ],
)
def test_a_mistake_is_one_line(tmp_path, override, line):
    (told,) = mistakes(tmp_path, override)
    assert told.split(": ", 1)[1].startswith(line)
    assert told.startswith(("command line: ", "study.yaml:"))


def test_a_mistake_of_a_recipe_names_its_file_and_line(tmp_path):
    path = write_study(tmp_path)
    (tmp_path / "b.yaml").write_text("data: {name: scenes}\nmodel: {name: resnet}\n")
    with pytest.raises(RecipeError, match=r"b\.yaml:1: data\.name: a study takes shares of files"):
        read_plan(path)
    with pytest.raises(RecipeError, match=r"c\.yaml: no such file"):
        read_plan(path, "networks.b.recipe=c.yaml")


def test_other_data_augmentation_or_budget_cannot_be_compared(tmp_path):
    path = write_study(tmp_path)
    (tmp_path / "b.yaml").write_text(
        (tmp_path / "b.yaml").read_text() + "train: {batch_size: 5}\ntask: {mixup: 0.5}\n"
    )
    with pytest.raises(RecipeError) as caught:
        read_plan(path, "fine_tuning.data.augment.flip=true")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "settings.data.augment.flip",
        "settings.task.mixup",
        "settings.train.batch_size",
    ]


def test_an_empty_file_is_told_what_it_lacks(tmp_path):
    (tmp_path / "s.yaml").write_text("")
    with pytest.raises(RecipeError, match=r"s\.yaml: a study names networks"):
        read_plan(tmp_path / "s.yaml")


def test_the_study_that_comes_with_the_project_is_read_without_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from vision_attn.study.plan import read_plan\n"
        "plan = read_plan(Path(sys.argv[1]), *sys.argv[2:])\n"
        "assert 'torch' not in sys.modules; print(len(plan.trainings))"
    )
    inits = [f"networks.{name}.init={tmp_path}" for name in ("vit", "resnet")]
    done = subprocess.run(
        [sys.executable, "-c", code, ROOT / "configs" / "study_data_size.yaml", *inits],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "60\n", done.stderr


def test_a_smaller_share_lies_inside_a_larger_one(tmp_path):
    plan = read_plan(write_study(tmp_path), "shares=[0.2, 0.5, 1]", "seeds=[7]")
    splits = [training.recipe.data.build() for training in plan.trainings[:3]]
    chosen = [{int(x) for x in data.train.indices} for data in splits]
    assert all(small < large for small, large in pairwise(chosen))
    assert len({tuple(data.test.indices.tolist()) for data in splits}) == 1
