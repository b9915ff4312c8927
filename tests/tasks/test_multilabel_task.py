"""Multi-label classification against scikit-learn, and as a whole run."""

import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import nn

from vision_attn.__main__ import main
from vision_attn.checking.mistakes import RecipeError
from vision_attn.data.batch import Tagged
from vision_attn.recipe import read
from vision_attn.spec import Spec
from vision_attn.tasks.multilabel_config import MultilabelConfig

ROOT = Path(__file__).parents[2]
SPEC = Spec(image_size=(1, 5), names=tuple("abcde"), channels=1, mean=(0,), std=(1,), several=True)


@pytest.fixture
def task():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return MultilabelConfig().build(nn.Sequential(nn.Flatten(), nn.Linear(5, 5)), SPEC)


def batch(count):
    draw = torch.Generator().manual_seed(count)
    images = torch.randn(count, 1, 1, 5, generator=draw)
    labels = (torch.rand(count, 5, generator=draw) < 0.4).float()
    labels[:, 4] = 0  # one label that never applies
    return Tagged(images, labels)


def test_numbers_agree_with_scikit_learn(task):
    batches = [batch(41), batch(30)]
    got = task.evaluate(batches)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    chances = task.model(images).sigmoid().detach().double().numpy()
    truth, said = labels.numpy()[:, :4], chances[:, :4] > 0.5
    expected = average_precision_score(truth, chances[:, :4], average="macro")
    assert got["average_precision"] == pytest.approx(expected, rel=1e-5)
    assert got["f1"] == pytest.approx(f1_score(truth, said, average="macro"), rel=1e-5)
    truth = labels.double().numpy()
    loss = -(truth * np.log(chances) + (1 - truth) * np.log(1 - chances)).mean()
    assert got["loss"] == pytest.approx(loss, rel=1e-5)
    assert got["images"] == 71
    assert task(batches[0])["loss"].item() == pytest.approx(
        task.evaluate(batches[:1])["loss"], rel=1e-5
    )


def test_fresh_networks_start_from_the_loss_of_a_coin(task):
    nn.init.zeros_(task.model[1].weight)
    nn.init.zeros_(task.model[1].bias)
    assert task(batch(7))["loss"].item() == pytest.approx(math.log(2))


def test_an_empty_split_is_refused(task):
    with pytest.raises(ValueError, match="at least one image"):
        task.evaluate([])


@pytest.fixture
def recipe(tmp_path):
    lines = ["path,labels"]
    for number in range(40):
        red, green = number % 2, number // 2 % 2
        noise = np.random.default_rng(number).integers(0, 60, (12, 12, 3), np.uint8)
        noise[..., 2] += 150 * red
        noise[..., 1] += 150 * green
        cv2.imwrite(str(tmp_path / f"{number}.png"), noise)
        lines.append(f"{number}.png,{'red' * red}{'|' * (red & green)}{'green' * green}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    data = f"{{name: csv_multilabel, file: {tmp_path}/table.csv, image_size: 8, test_share: 0.3}}"
    model = "{name: resnet, depths: [1, 1, 1, 1], channels: [4, 4, 6, 8], stem: small}"
    train = "{steps: 60, batch_size: 8, device: cpu, rate: 2e-2, warmup: 0}"
    path = tmp_path / "r.yaml"
    path.write_text(
        f"run: {tmp_path}/run\ndata: {data}\nmodel: {model}\ntask: {{name: multilabel}}\n"
        f"train: {train}\n"
    )
    return path


def test_a_run_learns_two_labels_at_once_and_predicts_them(recipe, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT)
    import train

    train.main([str(recipe)])
    run = recipe.parent / "run"
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    assert json.loads((run / "evaluation-test.json").read_text())["average_precision"] > 0.95
    assert "test average_precision = " in capsys.readouterr().out
    out = recipe.parent / "p.jsonl"
    files = [str(recipe.parent / f"{number}.png") for number in (0, 3)]
    assert main(["predict", str(run), *files, "--out", str(out), "--device", "cpu"]) == 0
    none, both = (json.loads(line) for line in out.read_text().splitlines())
    assert none["probability"] + none["probability_2"] < both["probability_2"]
    sys.modules.pop("train")


def test_networks_that_tell_labels_are_compared_label_by_label(recipe, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT)
    import train

    folder = recipe.parent
    short, long = str(folder / "short"), str(folder / "long")
    train.main([str(recipe), f"run={short}", "train.steps=2"])
    train.main([str(recipe), f"run={long}", "data.augment.flip=true"])
    command = ["compare", short, long, "--out", str(folder / "c"), "--device", "cpu"]
    assert main(command) == 0
    kept = folder / "long" / "evaluation" / "test" / "report.md"
    before = kept.stat().st_mtime_ns
    report = json.loads((folder / "c" / "report.json").read_text())
    assert report["command"].split()[1:] == [*command[:-2], "--split", "test"]
    found = [report["runs"][name]["average_precision"] for name in ("short", "long")]
    assert found[0] < found[1]
    rows = (folder / "c" / "report.md").read_text().split("\n")
    (headline,) = (row for row in rows if row.startswith("| mean average precision |"))
    first, second = headline.strip("| ").split(" | ")[1:]
    assert first.startswith(f"{found[0]:.4f} (")
    assert second.startswith(f"**{found[1]:.4f}** (")
    assert [row.split(" | ")[0] for row in rows[-3:-1]] == ["| green", "| red"]
    assert main(command) == 0
    assert kept.stat().st_mtime_ns == before  # judged once
    train.main([str(recipe), f"run={folder / 'other'}", "train.steps=1", "data.crop=0.5"])
    capsys.readouterr()
    assert main(["compare", short, str(folder / "other"), "--out", str(folder / "d")]) == 2
    assert "differ in data.crop; vision-attn evaluate" in capsys.readouterr().err
    assert not (folder / "other" / "evaluation").exists()
    assert main([*command, "--maps", "3"]) == 2
    assert "--maps and --started are for networks that tell one label" in capsys.readouterr().err
    sys.modules.pop("train")


def test_one_label_and_several_are_not_mixed_up(recipe):
    with pytest.raises(RecipeError, match="multilabel and data of several labels an image"):
        read(recipe, "task.name=classification")
