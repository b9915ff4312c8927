"""A run leaves for other libraries, is opened by them, and comes back."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import vision_attn.formats.hub
from vision_attn.__main__ import main
from vision_attn.commands.export import export
from vision_attn.commands.starting import open_start, start_from
from vision_attn.data.config import ScenesConfig
from vision_attn.engine.checkpoint import save_weights
from vision_attn.engine.run import Run
from vision_attn.formats.targets import TARGETS
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.recipe import Recipe
from vision_attn.trained import load_model

VIT = ViTConfig(dim=12, depth=1, heads=3, patch_size=8)
DATA = ScenesConfig(image_size=32, train=7, valid=5, test=5)


def left_behind(folder, config):
    """A run folder with weights that nobody trained."""
    spec = DATA.build().spec
    recipe = Recipe(run=str(folder), data=DATA, model=config)
    run = Run.create(folder, recipe.to_dict(), spec)
    run.log(3, valid_accuracy=0.25, valid_loss=1.5, valid_images=5)
    run.log(7, valid_accuracy=0.75, valid_loss=0.5, valid_images=5)
    torch.manual_seed(2)
    model = config.build(spec)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_weights(run.best, model, spec)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return left_behind(tmp_path_factory.mktemp("runs") / "tiny_vit", VIT)


def test_an_unknown_format_is_refused_and_the_known_are_named(vit, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(vit), "--to", "keras", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert all(name in said.rpartition("error:")[2] for name in TARGETS)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("to", ["timm", "hf", "jax", "torchvision"])
def test_the_command_writes_opens_and_tells(to, vit, tmp_path, capsys):
    pytest.importorskip(TARGETS[to].package)
    assert main(["export", str(vit), "--to", to, "--out", str(tmp_path / "out")]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"opened again by {TARGETS[to].package}: logits differ by ")
    assert float(first.rpartition(" ")[2]) < 1e-5
    assert sorted(rest) == sorted(map(str, (tmp_path / "out").iterdir()))
    _, spec = load_model(vit)
    again = VIT.build(spec)
    assert start_from(again, open_start(str(tmp_path / "out"))) == []


@pytest.mark.filterwarnings("ignore:.*")
def test_onnx_takes_any_number_of_images_and_carries_the_specification(vit, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert main(["export", str(vit), "--to", "onnx", "--out", str(tmp_path)]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    model, spec = load_model(vit)
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), model(images), atol=1e-5, rtol=0)
    about = session.get_modelmeta().custom_metadata_map["vision_attn"]
    assert json.loads(about)["spec"] == json.loads(json.dumps(spec.to_dict()))


def test_without_the_packages_onnx_says_what_to_install(vit, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vision_attn.formats.graphs.find_spec", lambda name: None)
    assert main(["export", str(vit), "--to", "onnx", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said == "--to onnx needs onnx and onnxscript; pip install 'vision_attn[export]'\n"


def test_without_the_library_the_files_are_written_and_it_is_said(
    vit, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("vision_attn.formats.format.find_spec", lambda name: None)
    assert main(["export", str(vit), "--to", "hf", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("not opened again: transformers is not installed")
    assert str(tmp_path / "model.safetensors") in told.out.splitlines()


def test_what_a_format_cannot_hold_is_told_and_nothing_written(tmp_path, capsys):
    small = ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 6, 8, 10), stem="small")
    run = left_behind(tmp_path / "run", small)
    assert main(["export", str(run), "--to", "timm", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("timm cannot hold this network: its ResNet has")
    assert not (tmp_path / "out").exists()


def test_the_card_is_a_page_of_the_hub(vit, tmp_path):
    main(["export", str(vit), "--to", "timm", "--out", str(tmp_path)])
    _, header, page = (tmp_path / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(header)
    assert about["library_name"] == "timm"
    assert about["pipeline_tag"] == "image-classification"
    assert "# tiny_vit\n" in page
    assert 'timm.create_model("local-dir:FOLDER", pretrained=True)' in page
    assert "| valid accuracy | 0.75 |" in page
    assert "circle" in page  # one of the classes
    recipe = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert recipe["model"]["dim"] == 12
    assert str(vit.parent) not in page  # where it lies on this machine is nobody's business


def test_no_place_of_this_machine_is_on_the_card(vit, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(vit, run)
    data = {"name": "webdataset", "train": "/home/ann/bees-{00..09}.tar", "valid": "/data/v.tar"}
    recipe = Run.open(run).recipe | {"data": data | {"test": None}, "init": "/home/ann/old"}
    (run / "config.yaml").write_text(json.dumps(recipe))
    export(run, "jax", tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    told = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert told["data"] == {
        "name": "webdataset",
        "train": "bees-{00..09}.tar",
        "valid": "v.tar",
        "test": None,
    }
    assert not [place for place in ("/home", "/data", str(tmp_path)) if place in page]


@pytest.mark.parametrize("found", [0.125, float("nan")])
def test_other_logits_are_refused_and_nothing_is_written(found, vit, tmp_path, monkeypatch, capsys):
    opened = []

    def difference(to, folder, trained, model):
        opened.append(sorted(path.name for path in folder.iterdir()))
        return found

    monkeypatch.setattr("vision_attn.commands.export.difference", difference)
    out = tmp_path / "out"
    assert main(["export", str(vit), "--to", "jax", "--out", str(out)]) == 2
    assert f"got a difference of {found:.2g}; {out} is left as it was" in capsys.readouterr().err
    assert opened == [["README.md", "model.npz", "spec.json"]]
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "model.npz").write_bytes(b"earlier")
    assert main(["export", str(vit), "--to", "jax", "--out", str(out)]) == 2
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("model.npz", b"earlier")]


@pytest.mark.filterwarnings("ignore:.*")
def test_weights_that_changed_on_their_way_are_found_and_refused(
    vit, tmp_path, monkeypatch, capsys
):
    whole = TARGETS["torchvision"]

    def write(trained, model):
        wrong = trained.state | {"head.bias": trained.state["head.bias"] + 0.01}
        return whole.write(trained._replace(state=wrong), model)

    monkeypatch.setitem(TARGETS, "torchvision", whole._replace(write=write))
    assert main(["export", str(vit), "--to", "torchvision", "--out", str(tmp_path / "out")]) == 2
    assert "must have the logits of the run up to 1e-05, got" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_numbers_of_the_test_come_before_those_of_validation(tmp_path):
    run = left_behind(tmp_path / "run", VIT)
    (run / "evaluation-test.json").write_text('{"accuracy": 0.625, "images": 5}')
    main(["export", str(run), "--to", "jax", "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| test accuracy | 0.625 |" in page
    assert "valid accuracy" not in page
    assert "approximates GELU by tanh" in page


def test_the_numbers_of_earlier_weights_are_left_out(tmp_path):
    run = left_behind(tmp_path / "run", VIT)
    (run / "evaluation-test.json").write_text('{"accuracy": 0.625, "images": 5}')
    os.utime(run / "evaluation-test.json", (1, 1))
    main(["export", str(run), "--to", "jax", "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| valid accuracy | 0.75 |" in page
    assert "test accuracy" not in page


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize(
    ("to", "config"),
    [
        ("timm", VIT),
        ("torchvision", VIT),
        ("torchvision", ResNetConfig(depths=(1, 1, 1, 1))),
        ("torch-export", VIT),
    ],
    ids=["timm", "torchvision-vit", "torchvision-resnet", "torch-export"],
)
def test_the_code_on_the_card_runs(to, config, tmp_path):
    run = left_behind(tmp_path / "run", config)
    main(["export", str(run), "--to", to, "--out", str(tmp_path / "out")])
    page = (tmp_path / "out" / "README.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    found: dict = {}
    exec(code.replace("FOLDER", str(tmp_path / "out")), found)
    model, _ = load_model(run)
    for batch in (1, 5):
        images = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            logits = found["network"](images)
            torch.testing.assert_close(logits, model(images), atol=1e-5, rtol=1e-5)


def test_a_push_uploads_the_folder_under_its_name(vit, tmp_path, monkeypatch, capsys):
    pushed = []

    def push(folder, name):
        pushed.append((folder, name))
        return "https://huggingface.co/ann/bees"

    monkeypatch.setattr(vision_attn.formats.hub, "push", push)
    main(["export", str(vit), "--to", "jax", "--out", str(tmp_path), "--push", "ann/bees"])
    assert pushed == [(tmp_path, "ann/bees")]
    assert capsys.readouterr().out.splitlines()[-1] == "pushed to https://huggingface.co/ann/bees"
    assert "# bees\n" in Path(tmp_path / "README.md").read_text()
