"""Runs of earlier versions, whose recipes lack settings of today, are read and go on."""

import json
from pathlib import Path

import pytest
import torch
from picture_files import write_photos

from vision_attn.checking.mistakes import RecipeError
from vision_attn.data.caption_config import SceneCaptionsConfig
from vision_attn.engine.run import Run, flat
from vision_attn.models.caption_config import (
    CaptionerConfig,
    GlimpseDecoderConfig,
    LSTMDecoderConfig,
    RetinaConfig,
    TransformerDecoderConfig,
)
from vision_attn.recipe import Recipe
from vision_attn.recorded import CONFIG, completed, open_run, read_past, recipe_of
from vision_attn.spec import Spec
from vision_attn.tasks.caption_config import CaptioningConfig

ROOT = Path(__file__).parents[1]
SPEC = Spec(image_size=(24, 24), names=("a", "b", "c"))
RECIPE = """\
data: {name: folder, root: PHOTOS, image_size: 24, valid_share: 0.5}
model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}
train: {steps: 1, batch_size: 2, device: cpu}
"""


def captions(decoder, **settings):
    model = CaptionerConfig(decoder=decoder, **settings)
    return Recipe(data=SceneCaptionsConfig(), model=model, task=CaptioningConfig())


GIVEN = {
    "vit": {"data": {"name": "scenes"}, "model": {"name": "vit", "depth": 3}, "seed": 5},
    "resnet": {
        "data": {"name": "folder", "root": "photos", "augment": {"flip": True}},
        "model": {"name": "resnet", "stem": "small"},
        "train": {"steps": 7},
    },
    "captioner": {
        "data": {"name": "scene_captions"},
        "model": {"name": "captioner", "decoder": {"name": "lstm", "order": "look_first"}},
        "task": {"name": "captioning"},
    },
}
"""Recipes of a version that knew few settings."""


def without(tree, path):
    """Leave the entry at a dotted path out of a copy of a tree."""
    key, _, below = path.partition(".")
    if not below:
        return {name: value for name, value in tree.items() if name != key}
    return tree | {key: without(tree[key], below)}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_what_is_missing_is_completed_and_the_rest_kept(given):
    full = completed(given, Path("x"))
    with_defaults = Recipe.model_validate_json(json.dumps(given), context={"unchecked": {"data"}})
    assert full == with_defaults.to_dict()
    assert completed(full, Path("x")) == full
    told = dict(flat(full))
    assert all(told[field] == value for field, value in flat(given))


def test_a_setting_that_is_no_more_is_named(tmp_path):
    recipe = {"data": {"name": "scenes"}, "model": {"name": "vit", "bygone": 3}}
    with pytest.raises(RecipeError, match=r"x/config\.yaml: model\.bygone: unknown key"):
        completed(recipe, Path("x/config.yaml"))
    Run.create(tmp_path, recipe, SPEC)
    for reading in (open_run, recipe_of, lambda folder: read_past(folder / CONFIG)):
        with pytest.raises(RecipeError, match=r"config\.yaml.*: model\.bygone: unknown key"):
            reading(tmp_path)


DECODERS = {
    "lstm": captions(LSTMDecoderConfig(order="look_first")),
    "glimpse": captions(GlimpseDecoderConfig(order="look_first"), encoder=RetinaConfig()),
    "transformer": captions(TransformerDecoderConfig()),
}


@pytest.mark.parametrize("recipe", DECODERS.values(), ids=DECODERS)
def test_decoders_looked_before_they_read_until_that_was_a_setting(recipe, tmp_path):
    full = recipe.to_dict()
    Run.create(tmp_path, without(full, "model.decoder.order"), SPEC)
    assert open_run(tmp_path).recipe == full
    assert recipe_of(tmp_path).model == recipe.model
    assert read_past(tmp_path / CONFIG).model == recipe.model


def test_an_order_that_was_recorded_counts(tmp_path):
    recipe = captions(LSTMDecoderConfig(order="read_first"))
    Run.create(tmp_path, recipe.to_dict(), SPEC)
    assert open_run(tmp_path).recipe == recipe.to_dict()
    assert recipe_of(tmp_path).model == recipe.model


def test_a_run_of_an_earlier_version_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT)
    import train

    write_photos(tmp_path / "photos")
    path, folder = tmp_path / "r.yaml", tmp_path / "run"
    path.write_text(RECIPE.replace("PHOTOS", str(tmp_path / "photos")))
    train.main([str(path), f"run={folder}"])
    config, save = folder / CONFIG, folder / "last.pt"
    now = json.loads(config.read_text())
    earlier = without(now, "tune")
    for field in ("train.parallel", "train.patience", "data.train_share", "data.interpolation"):
        earlier = without(earlier, field)
    config.write_text(json.dumps(earlier))
    state = torch.load(save, weights_only=True)
    torch.save({name: x for name, x in state.items() if name != "stale"}, save)

    with pytest.raises(SystemExit):
        train.main([str(path), f"run={folder}", "train.patience=3"])
    assert "train.patience was None and is 3;" in capsys.readouterr().err
    assert json.loads(config.read_text()) == earlier
    train.main([str(path), f"run={folder}"])
    assert f"resumed {folder} at step 1" in capsys.readouterr().err
    assert json.loads(config.read_text()) == now
