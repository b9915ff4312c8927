"""A finished run is judged by images that had no part in it, whatever they are called by now."""

import csv
from pathlib import Path

import pytest
from picture_files import write_noise

from vision_attn.__main__ import main
from vision_attn.data.division import BY_PLACE, UNCHECKED

RECIPE = """\
run: {run}
data: {{name: folder, root: {root}, image_size: 8, valid_share: 0.25}}
model: {{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""
JUDGE = ["--mistakes", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run on 24 photographs, 6 of which validate and none of which test."""
    home = tmp_path_factory.mktemp("judged")
    photos = write_noise(home / "photos", 24, 8, 8)
    (home / "r.yaml").write_text(RECIPE.format(run=home / "run", root=photos))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        import train
    train.main([str(home / "r.yaml")])
    return home / "run"


def table(run: Path, folder: Path, part: str) -> str:
    """Write a table in which every second image of a split is to be tested on; give the setting."""
    kept = csv.DictReader((run / "split.csv").read_text().splitlines())
    rows = [[row["path"], row["label"]] for row in kept if row["split"] == part]
    lines = [",".join([*row, ("test", "train")[x // 2 % 2]]) for x, row in enumerate(sorted(rows))]
    (folder / "other.csv").write_text("\n".join(["path,label,split", *lines]))
    return f"data={{name: csv, file: {folder / 'other.csv'}, image_size: 8}}"


@pytest.mark.parametrize("command", ["evaluate", "probe"])
def test_what_trained_a_run_does_not_judge_it_by_another_path(trained, tmp_path, capsys, command):
    data = table(trained, tmp_path, "train")
    assert main([command, str(trained), data, "--split", "test"]) == 2
    said = capsys.readouterr().err
    assert "images trained the network or chose its weights, such as " in said


def test_without_a_test_split_validation_images_judge_and_it_is_said(trained, capsys):
    assert main(["evaluate", str(trained), *JUDGE]) == 0
    said = capsys.readouterr()
    assert "no test split: judged by its validation images" in said.err
    assert "valid images = 6" in said.out.splitlines()
    report = (trained / "evaluation" / "valid" / "report.md").read_text()
    assert "On 6 validation images, which it was not trained on. Made" in report


@pytest.mark.parametrize("command", ["evaluate", "probe"])
def test_a_missing_test_split_is_told_with_what_helps(trained, capsys, command):
    assert main([command, str(trained), "--split", "test"]) == 2
    said = capsys.readouterr().err
    assert "no test split; take --split valid, or give images that had no part in training" in said


def test_a_report_tells_what_was_not_checked(trained, capsys):
    path, report = trained / "split.csv", trained / "evaluation" / "valid" / "report.md"
    whole = path.read_text()
    try:
        path.write_text("\n".join(line.rpartition(",")[0] for line in whole.splitlines()))
        assert main(["evaluate", str(trained), *JUDGE]) == 0
        assert f"6 valid images{BY_PLACE}" in capsys.readouterr().err
        assert f"On 6 validation images{BY_PLACE}. Made" in report.read_text()
        path.unlink()
        assert main(["evaluate", str(trained), *JUDGE]) == 0
        assert f"On 6 validation images{UNCHECKED}. Made" in report.read_text()
    finally:
        path.write_text(whole)
