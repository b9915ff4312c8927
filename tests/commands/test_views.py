"""Runs that see the same images in different ways are compared, and those of other images not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import write_noise

from vision_attn.__main__ import main
from vision_attn.commands.views import views

RECIPE = """\
run: {run}
data: {{{data}}}
model: {{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""
SCENES = "name: scenes, train: 7, valid: 13, test: 11"
FILES = "test_share: 0.25, valid_share: 0.25"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder of runs on 40 photographs and on scenes, each through a view of its own."""
    home = tmp_path_factory.mktemp("views")
    photos = f"name: folder, root: {write_noise(home / 'photos', 40, 17, 23)}, {FILES}"
    data = {
        "small": f"{photos}, image_size: 11",
        "half": f"{photos}, image_size: 11, train_share: 0.5, augment: {{flip: true}}",
        "large": f"{photos}, image_size: 16, mean: [0.1, 0.2, 0.3], std: [1, 1, 1], crop: 0.7",
        "backwards": f"name: csv, file: {home / 'backwards.csv'}, image_size: 13",
        "untested": f"name: folder, root: {home / 'photos'}, image_size: 11, valid_share: 0.25",
        "otherwise": f"{photos}, image_size: 16, split_seed: 1",
        "scenes24": f"{SCENES}, image_size: 24",
        "scenes29": f"{SCENES}, image_size: 29",
        "elsewhere": f"{SCENES}, image_size: 29, seed: 1",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        import train
    for name, settings in data.items():
        if name == "backwards":
            lines = (home / "small" / "split.csv").read_text().splitlines()
            (home / "backwards.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
        (home / f"{name}.yaml").write_text(RECIPE.format(run=home / name, data=settings))
        train.main([str(home / f"{name}.yaml")])
    return home


@pytest.fixture(autouse=True)
def _untimed(monkeypatch):
    monkeypatch.setattr("vision_attn.report.cost._rate", lambda model, images, seconds: 1.0)


def compared(home: Path, *names: str) -> dict:
    """Compare runs, and read what was measured of each."""
    out = home / f"of-{'-'.join(names)}"
    runs = [str(home / name) for name in names]
    assert main(["compare", *runs, "--out", str(out), "--maps", "5", "--device", "cpu"]) == 0
    return json.loads((out / "report.json").read_text())["models"]


@pytest.mark.parametrize("names", [("small", "large"), ("scenes24", "scenes29")])
def test_runs_of_two_views_are_measured_as_each_is_alone(home, names):
    together = compared(home, *names)
    for name in names:
        alone = compared(home, name)[name]
        for key in ("accuracy", "images", "flops", "maps"):
            assert together[name][key] == alone[key]
        assert main(["evaluate", str(home / name), "--device", "cpu", "--mistakes", "1"]) == 0
        kept = json.loads((home / name / "evaluation-test.json").read_text())
        assert together[name]["accuracy"] == pytest.approx(kept["accuracy"])
    said = (home / f"of-{'-'.join(names)}" / "report.md").read_text()
    assert "Each network sees the same images prepared as in its training" in said


def test_every_run_is_shown_the_same_scenes_and_masks_at_its_own_size(home):
    small, large = views([home / "scenes24", home / "scenes29"], "test", 5).evidence
    assert small.images.shape == (5, 3, 24, 24)
    assert large.images.shape == (5, 3, 29, 29)
    assert small.masks.shape[1:] == (24, 24)
    assert large.masks.shape[1:] == (29, 29)
    shares = [own.masks.float().mean((1, 2)) for own in (small, large)]
    assert shares[0].tolist() == pytest.approx(shares[1].tolist(), abs=0.03)
    assert np.ptp(shares[0].numpy()) > 0.05  # else it would not matter which scene it is


def test_runs_of_one_view_share_what_is_opened(home):
    one, other = views([home / "small", home / "half"], "test", 5).evidence
    assert one is other


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("scenes29", "elsewhere"), "11 test images of {0} and 11 of {1}, 0 of them the same"),
        (("small", "otherwise"), "images trained the network or chose its weights"),
        (("scenes24", "small"), "tell the same classes, got names="),
    ],
)
def test_runs_of_other_images_are_refused(home, capsys, names, said):
    runs = [str(home / name) for name in names]
    assert main(["compare", *runs, "--out", str(home / "refused"), "--device", "cpu"]) == 2
    assert said.format(*runs) in capsys.readouterr().err
    assert not (home / "refused").exists()


def test_images_listed_in_another_order_are_shown_in_that_of_the_first_run(home):
    runs = [home / "small", home / "backwards"]
    first, second = views(runs, "test", 100).evidence
    (alone,) = views(runs[1:], "test", 100).evidence
    assert torch.equal(second.labels, first.labels)
    assert not torch.equal(alone.labels, first.labels)
    assert torch.equal(second.images, alone.images.flip(0))


def test_without_a_split_it_is_the_test_or_what_every_run_has(home, capsys):
    assert views([home / "small"], None, 5).split == "test"
    assert not capsys.readouterr().err
    assert views([home / "untested"], None, 5).split == "valid"
    assert capsys.readouterr().err.count("no test split: judged by its validation images") == 1
    with pytest.raises(ValueError, match="of these 10 images trained the network"):
        views([home / "small", home / "untested"], None, 5)
