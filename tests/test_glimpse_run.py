"""A moving eye from the recipe to the report: trained, loaded, measured, explained, compared."""

import json
from pathlib import Path

import pytest
import torch
from picture_files import write_noise

from vision_attn.__main__ import main
from vision_attn.data.config import ScenesConfig
from vision_attn.data.loader import share
from vision_attn.models.glimpse import GlimpseNet
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig
from vision_attn.trained import load_model

ROOT = Path(__file__).parents[1]
SCENES = "{name: scenes, image_size: 24, train: 7, valid: 13, test: 11}"
CNN = "{name: resnet, depths: [1, 1, 1, 1], channels: [4, 4, 4, 8], stem: small}"
TINY = f"""\
run: RUN
data: {SCENES}
model: {{name: glimpse, glimpses: 3, size: 4, hidden: 8, first: context}}
task: {{name: glimpse, rollouts: 2, baseline: both}}
train: {{steps: 2, batch_size: 5, device: cpu, log_every: 1}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe whose run is finished, in the folder beside it."""
    return trained(tmp_path_factory.mktemp("eye"), TINY) / "tiny.yaml"


def trained(folder: Path, text: str) -> Path:
    """Train a recipe in a folder, which then has tiny.yaml and run."""
    (folder / "tiny.yaml").write_text(text.replace("RUN", str(folder / "run")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        import train
    train.main([str(folder / "tiny.yaml")])
    return folder


def test_a_run_logs_how_the_eye_moves_and_is_loaded_and_measured(recipe):
    run = recipe.parent / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all({"accuracy", "cut_off"} <= line.keys() for line in lines if "loss" in line)
    assert {"valid_error", "valid_border", "valid_accuracy_after_3"} <= lines[-1].keys()
    model, spec = load_model(run)
    assert isinstance(model, GlimpseNet)
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    kept = json.loads((run / "evaluation-test.json").read_text())
    data = ScenesConfig(image_size=24, train=7, valid=13, test=11).build()
    expected = GlimpseTaskConfig().build(model, spec).evaluate(share(data.test, 4))
    assert {name: kept[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_explain_draws_where_the_eye_went_and_scores_it(recipe, tmp_path):
    run = recipe.parent / "run"
    arguments = ["explain", str(run), str(recipe), "--out", str(tmp_path), "--device", "cpu"]
    assert main([*arguments, "--scores", "pointing_game", "--formats", "overlays"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    methods = [line["method"] for line in lines]
    assert set(methods) == {"glimpses", "random", "centre"}
    assert methods.count("glimpses") == 11
    assert all(0 <= line["scores"]["pointing_game"] <= 1 for line in lines)


def test_compare_puts_an_eye_into_its_tables(recipe, tmp_path):
    run = recipe.parent / "run"
    arguments = ["compare", str(run), "--out", str(tmp_path), "--maps", "3", "--device", "cpu"]
    assert main(arguments) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (measured,) = report["models"].values()
    assert set(measured["maps"]) == {"glimpses", "random", "centre"}
    assert measured["flops"] > 0
    assert "| glimpses |" in (tmp_path / "report.md").read_text()


def test_compare_puts_an_eye_beside_a_network_that_sees_everything(recipe, tmp_path):
    whole = TINY.replace("{name: glimpse, glimpses: 3, size: 4, hidden: 8, first: context}", CNN)
    whole = whole.replace("{name: glimpse, rollouts: 2, baseline: both}", "{name: classification}")
    cnn_run = (trained(tmp_path, whole) / "run").rename(tmp_path / "cnn")
    runs = [recipe.parent / "run", cnn_run]
    out = tmp_path / "both"
    arguments = ["compare", *map(str, runs), "--out", str(out), "--maps", "3", "--device", "cpu"]
    assert main(arguments) == 0
    found = json.loads((out / "report.json").read_text())["models"]
    eye, cnn = (set(found[run.name]["maps"]) for run in runs)
    assert eye == {"glimpses", "random", "centre"}
    assert "grad_cam" in cnn
    assert "glimpses" not in cnn


@pytest.mark.parametrize(("tested", "words"), [(True, "11 test"), (False, "2 validation")])
def test_glimpses_are_drawn_on_the_test_images_or_else_on_others(
    recipe, tmp_path, capsys, tested, words
):
    run = recipe.parent / "run"
    if not tested:
        photos = write_noise(tmp_path / "photos", 8, 24, 24)
        data = f"{{name: folder, root: {photos}, image_size: 24, valid_share: 0.25}}"
        run = trained(tmp_path, TINY.replace(SCENES, data)) / "run"
    assert main(["glimpses", str(run), "--images", "1", "--device", "cpu"]) == 0
    assert ("judged by its validation images" in capsys.readouterr().err) is not tested
    report = (run / "glimpses" / "glimpses.md").read_text()
    assert f"On {words} images" in report
    assert f"--split {'test' if tested else 'valid'}" in report
    assert ("these numbers flatter it" in report) is not tested


def test_an_eye_is_traced_without_a_tape(recipe):
    model, _ = load_model(recipe.parent / "run")
    images = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(images), model(images))
