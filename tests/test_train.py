"""The training command, run as a user runs it, and every recipe that comes with the project."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from vision_attn.data.caption_config import SceneCaptionsConfig
from vision_attn.data.config import ScenesConfig
from vision_attn.engine.run import Run
from vision_attn.recipe import read
from vision_attn.trained import load_model

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").glob("*.yaml"))
STUDIES = [path for path in FILES if path.stem.startswith("study_")]
RECIPES = [path for path in FILES if path not in STUDIES]
TINY = """\
data: {name: scenes, image_size: 24, train: 23, valid: 13, test: 11}
model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}
train: {steps: 3, batch_size: 5, evaluate_every: 2, log_every: 1, device: cpu}
"""


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recipe, its run folder, and what the command that trained it said."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "tiny.yaml").write_text(TINY)
    run = folder / "run"
    return folder / "tiny.yaml", run, command(folder / "tiny.yaml", f"run={run}")


@pytest.fixture
def script(monkeypatch):
    """The command as a module, to be run without starting Python again."""
    monkeypatch.syspath_prepend(ROOT)
    import train

    return train


def test_a_run_ends_with_where_it_is_and_how_good(trained):
    _, folder, done = trained
    assert done.returncode == 0, done.stderr
    scores = [line["valid_accuracy"] for line in Run.open(folder).metrics() if "valid_loss" in line]
    assert len(scores) == 2
    assert done.stdout.splitlines() == [f"{folder}: best valid_accuracy {max(scores):.4f}"]
    assert (folder / "best.safetensors").exists()
    assert (folder / "last.pt").exists()


def test_the_same_command_finds_nothing_left_to_do(trained, script, capsys):
    recipe, folder, done = trained
    before = (folder / "metrics.jsonl").read_bytes()
    script.main([str(recipe), f"run={folder}"])
    assert capsys.readouterr().out == done.stdout
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_run_goes_on_without_the_weights_it_started_from(trained, script, tmp_path, capsys):
    recipe, folder, _ = trained
    shutil.copytree(folder, tmp_path / "earlier")
    again = [str(recipe), f"run={tmp_path / 'run'}", f"init={tmp_path / 'earlier'}"]
    script.main(again)
    said = capsys.readouterr().out
    shutil.rmtree(tmp_path / "earlier")
    script.main(again)
    assert capsys.readouterr().out == said
    with pytest.raises(SystemExit):
        script.main([*again[:1], f"run={tmp_path / 'other'}", again[2]])
    assert "init: no such file or run folder" in capsys.readouterr().err


def test_the_stored_recipe_is_a_recipe(trained):
    _, folder, _ = trained
    recipe = read(folder / "config.yaml")
    assert recipe.to_dict() == json.loads((folder / "config.yaml").read_text())
    assert recipe.run == str(folder)


def test_another_recipe_in_the_same_folder_is_refused_without_a_traceback(trained, script, capsys):
    recipe, folder, _ = trained
    with pytest.raises(SystemExit) as caught:
        script.main([str(recipe), f"run={folder}", "model.depth=2"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "model.depth was 1 and is 2" in line


def test_a_device_that_is_not_there_is_refused_without_a_traceback(script, tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(SystemExit) as caught:
        script.main([str(tmp_path / "tiny.yaml"), f"run={tmp_path}/run", "train.device=hal"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "device must be auto or a name torch knows, got hal\n"


def test_an_error_that_nobody_foresaw_keeps_its_traceback(script, tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.setattr(ScenesConfig, "build", lambda config: int("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        script.main([str(tmp_path / "tiny.yaml"), f"run={tmp_path}/run"])


def test_files_that_are_left_out_are_counted_at_the_end(script, tmp_path, capsys):
    for number in range(6):
        place = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (31, 29), (40 * number, 90, 7)).save(place)
    place.write_bytes(b"")
    (tmp_path / "tiny.yaml").write_text(TINY)
    data = f"data={{name: folder, root: {tmp_path}/photos, image_size: 24, bad_share: 0.2}}"
    script.main([str(tmp_path / "tiny.yaml"), f"run={tmp_path}/run", data])
    listed = f"{tmp_path}/run/problems.jsonl"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"inputs that could not be used: 1; see {listed}"
    assert json.loads(Path(listed).read_text()) == {"path": str(place), "reason": "empty file"}


def test_without_arguments_usage_is_an_error():
    done = command()
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python train.py RECIPE.yaml")


def test_help_explains_every_setting():
    done = command("--help")
    assert done.returncode == 0
    assert "model.name=resnet: A residual network" in done.stdout


def test_a_loaded_model_is_the_one_that_was_trained(trained):
    _, folder, _ = trained
    model, spec = load_model(folder)
    assert not model.training
    assert spec == Run.open(folder).spec
    data = read(folder / "config.yaml").data.build()
    images, labels = data.valid.__getitems__([(0, i) for i in range(len(data.valid))])
    with torch.no_grad():
        accuracy = (model(images).argmax(1) == labels).double().mean().item()
    best = max(line.get("valid_accuracy", 0) for line in Run.open(folder).metrics())
    assert accuracy == pytest.approx(best, abs=1e-6)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is no run with weights: .*best\.safetensors is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_tells_command_score_time_and_hardware(path):
    lines = path.read_text().splitlines()
    keys = [line.split()[1] for line in lines if line.startswith("# ") and len(line.split()) > 1]
    assert [key for key in keys if key in ("command", "expected", "takes", "hardware")] == [
        "command",
        "expected",
        "takes",
        "hardware",
    ]
    program = "vision-attn study" if path in STUDIES else "python train.py"
    assert f"{program} configs/{path.name}" in path.read_text()
    assert "not measured yet" not in path.read_text()


class Unread:
    """A split that nobody may read."""

    def __len__(self):
        raise AssertionError("the test split was measured")

    def __getitems__(self, keys):
        raise AssertionError("the test split was read")


class Sealed:
    """The settings of a data set whose test split is out of reach."""

    def __init__(self, config):
        self.config = config

    def __getattr__(self, name):
        return getattr(self.config, name)

    def build(self):
        return replace(self.config.build(), test=Unread())


def test_training_never_reads_the_test_split(trained, script, tmp_path):
    recipe = read(trained[0], f"run={tmp_path / 'run'}")
    sealed = recipe.model_copy(update={"data": Sealed(recipe.data)})
    object.__setattr__(sealed, "to_dict", recipe.to_dict)
    script.train(sealed)
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == (
        trained[1] / "best.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_and_takes_a_step(path, script, tmp_path):
    elsewhere = path.stem.startswith(("folder_", "flickr8k"))
    photos = [f"data.root={tmp_path}"] if elsewhere else []
    recipe = read(path, f"run={tmp_path / 'run'}", "init=null", *photos)
    sizes = {"train": 4, "valid": 2, "test": 2}
    if hasattr(recipe.data, "train"):  # drawn, whatever their number
        data = replace(recipe.data, **sizes)
    else:
        drawn = SceneCaptionsConfig if recipe.task.name == "captioning" else ScenesConfig
        data = drawn(image_size=min(recipe.data.image_size, 64), **sizes)
    short = replace(recipe.train, steps=1, warmup=0, batch_size=2, device="cpu")
    script.train(recipe.model_copy(update={"data": data, "train": short}))
    assert Run.open(tmp_path / "run").metrics()[-1]["step"] == 1
