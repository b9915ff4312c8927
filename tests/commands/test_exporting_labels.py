"""A network that tells several labels leaves with its thresholds, and a card that asks it right."""

import json
import os
import re

import pytest
import torch
import yaml

from vision_attn.__main__ import main
from vision_attn.data.multilabel_config import MultilabelCsvConfig
from vision_attn.engine.checkpoint import save_weights
from vision_attn.engine.run import Run
from vision_attn.formats.targets import TARGETS
from vision_attn.models.config import ViTConfig
from vision_attn.recipe import Recipe
from vision_attn.spec import Spec
from vision_attn.tasks.multilabel_config import MultilabelConfig
from vision_attn.trained import load_model

VIT = ViTConfig(dim=12, depth=1, heads=3, patch_size=8)
NAMES = ("cat", "dog", "rain")
FITTED = {"cat": 0.25, "dog": 0.5, "rain": 0.75}
NUMBERS = {"average_precision": 0.5, "average_precision_low": 0.25, "average_precision_high": 0.75}


@pytest.fixture
def run(tmp_path):
    """A run folder with weights that nobody trained."""
    (tmp_path / "t.csv").write_text("path,labels\n")
    data = MultilabelCsvConfig(file=str(tmp_path / "t.csv"), image_size=32)
    spec = Spec(image_size=(32, 32), names=NAMES, several=True)
    recipe = Recipe(run=str(tmp_path / "run"), data=data, model=VIT, task=MultilabelConfig())
    run = Run.create(tmp_path / "run", recipe.to_dict(), spec)
    for step, precision in ((3, 0.25), (7, 0.75), (9, 0.5)):
        run.log(step, valid_average_precision=precision, valid_f1=0.5)
    with torch.random.fork_rng([]):
        torch.manual_seed(2)
        model = VIT.build(spec)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    save_weights(run.best, model, spec)
    return run.folder


def evaluated(run):
    """Leave behind what an evaluation writes."""
    (run / "evaluation" / "test").mkdir(parents=True)
    (run / "evaluation" / "test" / "thresholds.json").write_text(json.dumps(FITTED))
    (run / "evaluation-test.json").write_text(json.dumps(NUMBERS | {"exact": 0.125, "images": 8}))


def test_a_card_before_any_evaluation(run, tmp_path):
    assert main(["export", str(run), "--to", "jax", "--out", str(tmp_path / "out")]) == 0
    _, header, page = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["tags"] == [
        "image-classification",
        "multi-label-classification",
        "vision-attn",
    ]
    assert "| valid mean average precision | 0.75 |  |" in page
    assert "## Labels\n\n3: cat, dog, rain\n" in page
    assert "thresholds are 0.5 for every label" in page
    told = json.loads((tmp_path / "out" / "thresholds.json").read_text())
    assert told == dict.fromkeys(NAMES, 0.5)


def test_numbers_have_their_names_and_intervals_and_old_thresholds_are_not_taken(run, tmp_path):
    evaluated(run)
    out = tmp_path / "out"
    main(["export", str(run), "--to", "jax", "--out", str(out)])
    page = (out / "README.md").read_text()
    assert "| test mean average precision | 0.5 | 0.25-0.75 |" in page
    assert "| test share of images with every label right | 0.125 |  |" in page
    assert "average_precision_low" not in page
    assert "of the highest F1 on the validation images" in page
    assert json.loads((out / "thresholds.json").read_text()) == FITTED
    newer = (run / "evaluation" / "test" / "thresholds.json").stat().st_mtime + 9
    os.utime(run / "best.safetensors", (newer, newer))
    main(["export", str(run), "--to", "jax", "--out", str(out)])
    assert json.loads((out / "thresholds.json").read_text()) == dict.fromkeys(NAMES, 0.5)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("to", ["timm", "hf", "torchvision", "onnx", "torch-export"])
def test_the_code_on_the_card_tells_the_labels(to, run, tmp_path):
    pytest.importorskip(TARGETS[to].package)
    if to == "onnx":
        pytest.importorskip("onnxscript")
    evaluated(run)
    assert main(["export", str(run), "--to", to, "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "README.md").read_text()
    model, _ = load_model(run)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        chances = model(images).sigmoid()
        found = {"images": images.numpy() if to == "onnx" else images}
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(code.replace("FOLDER", str(tmp_path / "out")), found)
    expected = [
        [name for name, chance in zip(NAMES, row, strict=True) if chance > FITTED[name]]
        for row in chances.tolist()
    ]
    assert found["labels"] == expected
    assert 0 < sum(map(len, expected)) < 15
    if to == "hf":
        told = json.loads((tmp_path / "out" / "config.json").read_text())
        assert told["problem_type"] == "multi_label_classification"
