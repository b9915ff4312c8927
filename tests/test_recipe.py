"""A recipe becomes configs and back; what a rule, a remark and the reference say of it."""

import json
from dataclasses import asdict

import pytest
from recipe_text import GOOD, mistakes, write

from vision_attn.checking.mistakes import RecipeError
from vision_attn.checking.settings import settings
from vision_attn.data.config import ScenesConfig
from vision_attn.data.public_config import MnistConfig
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.recipe import SECTIONS, Recipe, read, reference, remarks
from vision_attn.tasks.config import ClassificationConfig


def test_a_recipe_becomes_configs(tmp_path):
    recipe = read(write(tmp_path, GOOD), "seed=5", "data.augment.flip=true", "train.clip=null")
    assert recipe.run == "runs/r"
    assert recipe.seed == 5
    assert recipe.init is None
    assert isinstance(recipe.data, ScenesConfig)
    assert recipe.data.augment.flip is True
    assert recipe.model == ViTConfig(depth=4, patch_size=7)
    assert recipe.task == ClassificationConfig()
    assert (recipe.train.rate, recipe.train.steps) == (3e-4, 10_000)
    assert recipe.train.wandb == "off"
    assert recipe.train.clip is None


def test_a_section_that_has_a_default_needs_no_name(tmp_path):
    recipe = read(write(tmp_path, GOOD), "task.mixup=0.5")
    assert recipe.task == ClassificationConfig(mixup=0.5)


def test_what_to_dict_gives_is_the_same_recipe_again(tmp_path):
    recipe = read(write(tmp_path, GOOD), "model={name: resnet, depths: [1, 2, 1, 1]}", "run=a/b")
    assert recipe.model == ResNetConfig(depths=(1, 2, 1, 1))
    stored = recipe.to_dict()
    assert stored["data"] == asdict(recipe.data)
    assert read(write(tmp_path, json.dumps(stored))) == recipe
    assert stored["run"] == "a/b"


def test_a_run_folder_names_the_recipe_inside(tmp_path):
    (tmp_path / "config.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"did you mean .*config\.yaml\?"):
        read(tmp_path)


def test_ranks_must_share_the_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert mistakes(tmp_path, GOOD, "train.batch_size=8") == [
        "command line: train.batch_size: must be a multiple of ranks x accumulate, got 8, 3 ranks "
        "and accumulate=1"
    ]


def test_a_set_that_may_be_downloaded_need_not_be_there(tmp_path):
    recipe = read(write(tmp_path, GOOD), "data={name: mnist, root: no/where, download: true}")
    assert recipe.data == MnistConfig(root="no/where", download=True)


def test_a_mirror_without_its_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_attn.recipe.find_spec", lambda name: None)
    (line,) = mistakes(tmp_path, GOOD, "train.tensorboard=true")
    assert line.startswith("command line: train.tensorboard: needs a package; pip install")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.patch_size=7"], ["model.patch_size: 7 makes only 16 tokens of 28 pixels a side"]),
        (["model.patch_size=4"], []),
        (["model.patch_size=null"], ["model.patch_size: 4, the default for images of 28 pixels"]),
        (["model={name: resnet}"], []),
    ],
)
def test_small_images_get_small_patches_and_a_word_about_it(tmp_path, overrides, said):
    lines = list(remarks(read(write(tmp_path, GOOD), *overrides)))
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))


def test_rules_hold_for_recipes_made_in_python():
    with pytest.raises(ValueError, match=r"must divide data\.image_size"):
        Recipe(data=ScenesConfig(image_size=30), model=ViTConfig(patch_size=7))


def test_the_reference_explains_every_setting():
    text = reference(90)
    assert max(map(len, text.splitlines())) <= 110
    assert "\n    steps = 1000 " in text
    assert "    run = runs/unnamed  Folder of the run" in text
    assert "augment.flip = false" in text
    assert "Peak learning rate" in text
    for section, configs in SECTIONS.items():
        for name, config in configs.items():
            assert f"\n{section}.name={name}: " in text or f"\n{section}: " in text
            assert [setting.path for setting in settings(config) if not setting.meaning] == []
