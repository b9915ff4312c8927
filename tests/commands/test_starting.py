"""A training starts from weights of any format, with the preprocessing that belongs to them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from picture_files import write_photos
from PIL import Image
from safetensors.torch import save_file

from vision_attn.commands.starting import open_start, prepared, prepared_as_before, start_from
from vision_attn.data.config import FolderConfig, ScenesConfig
from vision_attn.engine.checkpoint import save_weights
from vision_attn.engine.run import Run
from vision_attn.formats import hugging_face, jax
from vision_attn.formats.checkpoint import Checkpoint
from vision_attn.formats.targets import TARGETS
from vision_attn.formats.told import Told, from_transformers
from vision_attn.formats.trained import Trained
from vision_attn.models.config import ViTConfig
from vision_attn.recipe import Recipe, read
from vision_attn.spec import Spec

ROOT = Path(__file__).parents[2]
CONFIG = ViTConfig(dim=12, depth=1, heads=3, patch_size=4)
SPEC = Spec(image_size=(24, 24), names=("a", "b", "c"), mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
RECIPE = """\
data: {name: folder, root: PHOTOS, image_size: 24, valid_share: 0.5}
model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}
train: {steps: 1, batch_size: 2, device: cpu}
"""


@pytest.fixture
def model():
    torch.manual_seed(5)
    return CONFIG.build(SPEC)


@pytest.fixture
def run(model, tmp_path):
    """A run folder of that model."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    section = "model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}\n"
    (folder / "config.yaml").write_text(f"data: {{name: scenes}}\n{section}")
    save_weights(folder / "best.safetensors", model, SPEC)
    return folder


def write(folder, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_nothing_to_start_from_leaves_the_model_alone(model):
    before = {name: x.clone() for name, x in model.state_dict().items()}
    assert start_from(model, open_start(None)) == []
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_a_run_or_its_weights_are_started_from_without_a_word(model, run):
    for init in (run, run / "best.safetensors"):
        new = CONFIG.build(SPEC)
        assert start_from(new, open_start(str(init))) == []
        assert all(torch.equal(x, new.state_dict()[k]) for k, x in model.state_dict().items())


def test_a_file_that_does_not_tell_its_preprocessing_is_remarked_upon(model, tmp_path):
    state = model.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(wrapped, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        new = CONFIG.build(SPEC)
        head, settings, images = start_from(new, open_start(str(tmp_path / name)))
        assert (
            head
            == "head: kept, though init does not tell its classes; they must be a, b, c in order"
        )
        assert settings == (
            "init: does not tell model.heads=3 and model.norm_eps=1e-06, which must be what it was "
            "trained with"
        )
        assert images.startswith("init: does not tell its preprocessing; data.mean=[0.2, 0.3, 0.4]")
        assert all(torch.equal(x, new.state_dict()[k]) for k, x in state.items())


def test_another_grid_and_head_are_fitted_and_told(run):
    model = CONFIG.build(replace(SPEC, image_size=(16, 28), names=("a", "b")))
    said = start_from(model, open_start(str(run)))
    assert said == [
        "pos_embed: resampled from a 6x6 grid to 4x7",
        "head.weight: fresh weights, the checkpoint has 3 outputs, the model 2",
        "head.bias: fresh weights, the checkpoint has 3 outputs, the model 2",
        "init: trained with image_size=(24, 24), now the data has (16, 28)",
    ]


@pytest.mark.parametrize("to", ["run", "timm", "hf", "jax", "torchvision"])
def test_a_head_for_as_many_other_classes_starts_afresh(to, run, model, tmp_path):
    init = run
    if to != "run":
        trained = Trained(CONFIG, SPEC, model.state_dict())
        spec = {"spec.json": json.dumps(SPEC.to_dict()).encode()}
        init = write(tmp_path / to, TARGETS[to].write(trained, None) | spec)
    new = CONFIG.build(replace(SPEC, names=("ant", "mule", "zebra")))
    fresh = new.head.weight.clone()
    said = start_from(new, open_start(str(init)))
    assert said == ["head: fresh weights, the checkpoint tells other classes, such as a for ant"]
    assert torch.equal(new.head.weight, fresh)
    new = CONFIG.build(replace(SPEC, names=("b", "c", "a")))
    (said,) = start_from(new, open_start(str(init)))
    assert said == "head: outputs put in the order of the model's classes"
    assert torch.equal(new.head.weight, model.head.weight[[1, 2, 0]])


def test_classes_that_transformers_only_numbers_are_unknown():
    numbered = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}
    assert from_transformers(numbered, {}).names is None
    many = {str(index): f"kind {index}" for index in range(12)}
    shuffled = {"id2label": {key: many[key] for key in sorted(many)}}
    assert from_transformers(shuffled, {}).names == tuple(many.values())


def test_what_is_prepared_in_another_way_gets_a_line_each(run):
    model = CONFIG.build(replace(SPEC, mean=(0.1, 0.1, 0.1), crop=0.9, interpolation="nearest"))
    said = start_from(model, open_start(str(run)))
    assert [line.partition("=")[0].rpartition(" ")[2] for line in said] == [
        "mean",
        "interpolation",
        "crop",
    ]


def test_other_formats_start_a_model_too(model, tmp_path):
    trained = Trained(CONFIG, SPEC, model.state_dict())
    folder = write(tmp_path / "hf", hugging_face.files(trained))
    npz = write(tmp_path / "jax", jax.files(trained)) / "model.npz"
    new = CONFIG.build(SPEC)
    assert start_from(new, open_start(str(folder))) == []
    assert torch.equal(new.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)
    new = CONFIG.build(replace(SPEC, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    (said,) = start_from(new, open_start(str(npz)))
    assert said.startswith("head: kept, though init does not tell its classes")
    assert torch.equal(new.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


def test_what_data_leaves_open_comes_from_the_weights(tmp_path):
    told = Told(mean=(0.1, 0.2, 0.6), std=(0.5, 0.5, 0.2), interpolation="bicubic")
    start = Checkpoint(state={}, told=told)
    recipe = Recipe(
        run=str(tmp_path / "new"),
        data=FolderConfig(root=str(tmp_path), std=(0.9, 0.9, 0.9)),
        model=CONFIG,
    )
    filled = prepared(recipe, start).data
    assert filled.crop is None
    assert (filled.mean, filled.std) == (told.mean, (0.9, 0.9, 0.9))
    assert filled.interpolation == "bicubic"
    grey = recipe.model_copy(update={"data": FolderConfig(root=str(tmp_path), channels=1)})
    assert prepared(grey, start).data.mean == (0.3,)
    for same in (recipe, Recipe(data=ScenesConfig(), model=CONFIG)):
        assert prepared(same, None) is same


def test_an_earlier_run_of_that_name_does_not_change_what_the_weights_tell(tmp_path):
    recipe = Recipe(run=str(tmp_path / "run"), data=FolderConfig(root=str(tmp_path)), model=CONFIG)
    means = {"mean": [0.7, 0.8, 0.9], "std": None, "interpolation": None}
    Run.create(tmp_path / "run", recipe.to_dict() | {"data": means}, SPEC)
    (tmp_path / "run" / "last.pt").touch()
    start = Checkpoint(state={}, told=Told(mean=(0.1, 0.2, 0.6), std=(0.5, 0.5, 0.2)))
    assert prepared(recipe, start).data.mean == (0.1, 0.2, 0.6)
    assert prepared_as_before(recipe).data.mean == (0.7, 0.8, 0.9)


@pytest.mark.parametrize("crop", [0.875, 1])
def test_the_central_crop_comes_from_the_weights_unless_the_recipe_says(crop, tmp_path, model):
    for number in range(8):
        place = tmp_path / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.new("RGB", (31, 29), (30 * number, 90, 7)).save(place)
    start = Checkpoint(state=model.state_dict(), told=Told(mean=SPEC.mean, crop=crop))
    data = FolderConfig(root=str(tmp_path), image_size=24, valid_share=0.5)
    assert data.build().spec.crop == 1
    recipe = Recipe(run=str(tmp_path / "new"), data=data, model=CONFIG)
    spec = prepared(recipe, start).data.build().spec
    assert spec.crop == crop
    assert not [line for line in start_from(CONFIG.build(spec), start) if "crop" in line]
    said = recipe.model_copy(update={"data": replace(data, crop=0.5)})
    spec = prepared(said, start).data.build().spec
    assert spec.crop == 0.5
    wanted = f"init: trained with crop={crop}, now the data has 0.5"
    assert wanted in start_from(CONFIG.build(spec), start)


def test_a_training_takes_and_keeps_the_preprocessing_of_its_weights(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import train

    write_photos(tmp_path / "photos")
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("PHOTOS", str(tmp_path / "photos")))
    arguments = [str(path), f"run={tmp_path / 'run'}", f"init={run}"]
    train.main(arguments)
    stored = json.loads((tmp_path / "run" / "config.yaml").read_text())["data"]
    assert (stored["mean"], stored["interpolation"]) == ([0.2, 0.3, 0.4], "bilinear")
    assert stored["crop"] == 1
    assert json.loads((tmp_path / "run" / "spec.json").read_text())["std"] == [0.5, 0.6, 0.7]
    run.rename(tmp_path / "gone")
    train.main(arguments)  # goes on, though the recipe still leaves mean and std open
    again = read(tmp_path / "run" / "config.yaml", "init=null")
    assert again.data.build().spec.mean == (0.2, 0.3, 0.4)


@pytest.mark.parametrize("init", ["timm:vit_tiny_patch16_224", "hf:google/vit-base-patch16-224"])
def test_names_on_the_hub_are_no_missing_files(init, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(f"init: {init}\ndata: {{name: scenes}}\nmodel: {{name: vit}}\n")
    assert read(path).init == init


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not weights", "weights must be a .safetensors file"), ([3], "a dict of names and tensors")],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, content, reason):
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=reason):
        open_start(str(path))
