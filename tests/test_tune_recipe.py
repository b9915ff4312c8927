"""Fine-tuning from a recipe: what stays, what is kept, and finishing at a higher resolution."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from recipe_text import GOOD, TINY, mistakes, write

from vision_attn.commands.evaluate import measure
from vision_attn.recipe import read, remarks
from vision_attn.trained import load_model

CAPTIONS = "data: {name: scene_captions}\nmodel: {name: captioner}\ntask: {name: captioning}\n"
TAGS = "data: {name: csv_multilabel, file: TABLE}\nmodel: {name: vit}\ntask: {name: multilabel}\n"


@pytest.fixture
def script(monkeypatch):
    """The training command as a module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    import train

    return train


@pytest.fixture
def pretrained(tmp_path, script) -> Path:
    """A run to start from."""
    write(tmp_path, TINY)
    script.main([str(tmp_path / "r.yaml"), f"run={tmp_path / 'pretrained'}"])
    return tmp_path / "pretrained"


def tuned(script, earlier: Path, *overrides: str) -> Path:
    """Train a second run from the weights of an earlier one."""
    run = earlier.parent / "tuned"
    script.main([str(earlier.parent / "r.yaml"), f"run={run}", f"init={earlier}", *overrides])
    return run


def test_a_lora_run_is_kept_as_a_plain_network(script, pretrained, capsys):
    run = tuned(script, pretrained, "tune={name: lora, rank: 2}", "train.rate=0.1")
    assert "trained: " in capsys.readouterr().out
    before, after = (load_model(folder)[0].state_dict() for folder in (pretrained, run))
    assert before.keys() == after.keys()
    changed = {name for name, x in after.items() if not torch.equal(x, before[name])}
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    layers = {f"blocks.0.{part}.weight" for part in parts}
    assert changed == layers | {"head.weight", "head.bias"}
    assert measure(run).numbers["images"] == 11


def test_a_linear_probe_changes_the_head_alone(script, pretrained):
    run = tuned(script, pretrained, "tune.name=linear_probe", "train.head_rate=10")
    before, after = (load_model(folder)[0].state_dict() for folder in (pretrained, run))
    changed = {name for name, x in after.items() if not torch.equal(x, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_run_is_finished_at_a_higher_resolution(script, pretrained, capsys):
    run = tuned(script, pretrained, "data.image_size=32")
    assert "pos_embed: resampled from a 6x6 grid to 8x8" in capsys.readouterr().out
    model, spec = load_model(run)
    assert (model.grid, spec.image_size) == ((8, 8), (32, 32))


def test_a_name_that_fits_nothing_is_told_in_a_line(script, pretrained, capsys):
    with pytest.raises(SystemExit) as caught:
        tuned(script, pretrained, "tune.freeze=[patch_embd]")
    assert caught.value.code == 2
    assert "tune.freeze must fit names such as" in capsys.readouterr().err


def photos(folder: Path) -> Path:
    """Eleven images of one class and three of another."""
    for number in range(14):
        place = folder / "photos" / "ab"[number > 10] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24), (17 * number, 90, 7)).save(place)
    return folder / "photos"


@pytest.mark.parametrize(
    "setting", ["train.balanced=true", "task.class_weights=balanced", "task.class_weights=[1, 5]"]
)
def test_skewed_sets_are_evened_out(script, tmp_path, setting):
    data = f"data={{name: folder, root: {photos(tmp_path)}, image_size: 24}}"
    script.main([str(write(tmp_path, TINY)), f"run={tmp_path / 'run'}", data, setting])
    assert (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (GOOD, ["train.balanced=true"], "train.balanced: needs a set that lists one label"),
        (GOOD, ["task.class_weights=balanced"], "task.class_weights: needs a set that lists"),
        (GOOD, ["task.class_weights=even"], "task.class_weights: must be balanced, a list of num"),
        (GOOD, ["tune.name=probe"], "tune.name: must be full, linear_probe, last_blocks or lora"),
        (TAGS, ["train.balanced=true"], "train.balanced: needs a set that lists one label"),
        (CAPTIONS, ["tune.name=last_blocks"], "tune.name: a captioner keeps its encoder by model."),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, text, overrides, said):
    text = text.replace("TABLE", str(Path(__file__)))
    (line,) = mistakes(tmp_path, text, *overrides)
    assert line.startswith(f"command line: {said}")


def test_keeping_random_weights_gets_a_word(tmp_path):
    lines = list(remarks(read(write(tmp_path, GOOD), "model.patch_size=4", "tune.name=lora")))
    assert lines == ["tune.name: lora keeps weights that are random; set init to good ones"]
