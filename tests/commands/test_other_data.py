"""A finished run is judged by other data than its own: classes by name, nothing it was made of."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from vision_attn.__main__ import main
from vision_attn.commands.evaluate import evaluate
from vision_attn.commands.other_data import MADE_OF, STRAY, open_others
from vision_attn.data.config import ScenesConfig
from vision_attn.data.decode import decode
from vision_attn.data.division import CHECKED
from vision_attn.data.transforms import evaluate_batch
from vision_attn.recorded import recipe_of
from vision_attn.spec import Spec
from vision_attn.trained import load_model

RECIPE = """\
run: {run}
data: {{name: folder, root: {root}, image_size: 8, test_share: 0.2, split_seed: 1}}
model: {{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}}
train: {{steps: 1, batch_size: 5, device: cpu}}
"""
FEW = ["--mistakes", "1", "--device", "cpu"]


def draw(path: Path, seed: int, side: int = 11) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a run on photos of three kinds, and new photos beside those."""
    home = tmp_path_factory.mktemp("others")
    for number in range(30):
        draw(home / "photos" / ("ant", "bee", "cat")[number % 3] / f"{number}.png", number)
    for number in range(7):
        draw(home / "new" / ("bee", "cat")[number % 2] / f"{number}.png", 100 + number)
    (home / "r.yaml").write_text(RECIPE.format(run=home / "run", root=home / "photos"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])
        import train
    train.main([str(home / "r.yaml")])
    return home


def judged(home: Path, *words: str) -> tuple[dict[str, float], str]:
    """Evaluate the run; give numbers and report."""
    out = home / "report"
    assert main(["evaluate", str(home / "run"), *words, "--out", str(out), *FEW]) == 0
    return json.loads((out / "numbers.json").read_text()), (out / "report.md").read_text()


def test_folders_judge_by_their_names_and_leave_the_own_report_alone(home, capsys):
    run = home / "run"
    assert main(["evaluate", str(run), str(home / "new"), *FEW]) == 0
    out = run / "evaluation" / "on-new"
    assert not (run / "evaluation-test.json").exists()
    assert not (run / "evaluation" / "test").exists()
    model, spec = load_model(run)
    right = []
    for path in sorted((home / "new").glob("*/*")):
        image = evaluate_batch([decode(path.read_bytes(), 3)], spec)
        with torch.no_grad():
            right.append(spec.names[int(model(image).argmax())] == path.parent.name)
    said = capsys.readouterr()
    assert f"new accuracy = {np.mean(right):.6g}" in said.out.splitlines()
    assert said.err == ""
    text = (out / "report.md").read_text()
    assert f"On 7 test images of new{CHECKED}. Made" in text
    assert f"vision-attn evaluate {run} {home / 'new'} --out {out}" in text
    assert "No temperature is known" in text
    assert "7 test images of new" in json.dumps(unpacked(out / "report.html"))


def unpacked(path: Path) -> str:
    import base64
    import re
    import zlib

    text = re.search(r'<script id="data" type="text/plain">(.*?)</script>', path.read_text())[1]
    raw = zlib.decompress(base64.b64decode(text))
    told = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")])["evaluation"]
    return f"{told['images']} {told['judges']}"


def test_what_made_the_run_and_what_is_no_photo_of_a_class_is_left_out_and_listed(
    home, tmp_path, capsys
):
    shutil.copytree(home / "new", tmp_path / "mixed")
    for number in range(30):  # all its photos, those of the test among them, under other names
        kind = ("ant", "bee", "cat")[number % 3]
        draw(tmp_path / "mixed" / kind / f"copy-{number}.png", number)
    (tmp_path / "mixed" / "cat" / "cut.png").write_bytes(b"\x89PNG")
    (tmp_path / "mixed" / "notes.txt").write_text("about the photos")
    numbers, text = judged(home, str(tmp_path / "mixed"))
    assert numbers["images"] == 7 + 6
    problems = home / "report" / "problems.jsonl"
    listed = [json.loads(line) for line in problems.read_text().splitlines()]
    reasons = [one["reason"] for one in listed]
    assert reasons.count(MADE_OF) == 24
    assert reasons.count(STRAY) == 1
    assert len(listed) == 26
    assert f"{CHECKED} ([26 more](problems.jsonl) are left out)" in text
    assert f"26 images left out, listed in {problems}" in capsys.readouterr().err


def test_a_report_on_other_data_of_the_same_name_is_not_overwritten(home, tmp_path, capsys):
    shutil.copytree(home / "new", tmp_path / "new")
    for _ in range(2):  # the same data again are welcome
        assert main(["evaluate", str(home / "run"), str(home / "new"), *FEW]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(home / "run"), str(tmp_path / "new"), *FEW]) == 2
    said = f"on-new holds a report on {home / 'new'}, got {tmp_path / 'new'}; choose another folder"
    assert said in capsys.readouterr().err


def test_nothing_but_what_made_the_run_is_refused(home, capsys):
    kept = (home / "run" / "split.csv").read_text().splitlines()
    path = next(line.split(",")[0] for line in kept if ",train," in line)
    assert main(["evaluate", str(home / "run"), path, *FEW]) == 2
    assert f"got none of 1; {path}: {MADE_OF}" in capsys.readouterr().err


def table(home: Path, folder: Path, extra: str = "") -> Path:
    """Write a recipe of the new photos as a table, with classes numbered otherwise."""
    rows = [
        f"{path},{path.parent.name},{split}"
        for split, root in (("test", "new"), ("train", "photos"))
        for path in sorted((home / root).glob("[bc]*/*"))
    ]
    (folder / "t.csv").write_text("\n".join(["path,label,split", *rows]) + extra)
    recipe = folder / "table.yaml"
    model = "{name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}"
    data = f"{{name: csv, file: {folder / 't.csv'}, image_size: 32, mean: [0, 0, 0]}}"
    recipe.write_text(f"data: {data}\nmodel: {model}\n")
    return recipe


def test_a_recipe_judges_as_the_folder_does_whatever_it_is_prepared_for(home, tmp_path):
    expected, _ = judged(home, str(home / "new"))
    numbers, text = judged(home, str(table(home, tmp_path)))
    assert numbers == pytest.approx(expected)
    assert "On 7 test images of table" in text
    with pytest.raises(ValueError, match="none of 2"):  # all of them are the run's own
        evaluate(home / "run", data=[str(tmp_path / "table.yaml")], split="valid")


def test_a_table_judges_by_its_test_rows_or_by_all_without_a_training_image(home, tmp_path):
    files = sorted((home / "new").glob("*/*"))
    rows = [f"{path},{path.parent.name}" for path in files]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["path,label", *rows]))
    expected, _ = judged(home, str(home / "new"))
    numbers, text = judged(home, str(path))
    assert numbers == pytest.approx(expected)
    assert "On 7 test images of t" in text
    splits = ["test", "val", "val", "train", "test", "val", "test"]
    rows = [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
    path.write_text("\n".join(["path,label,split", *rows]))
    assert judged(home, str(path))[0]["images"] == splits.count("test")
    assert judged(home, str(path), "--split", "valid")[0]["images"] == splits.count("val")
    path.write_text("\n".join(["path,label,split", rows[0]]))
    with pytest.raises(ValueError, match="has no rows of the split valid"):
        evaluate(home / "run", data=[str(path)], split="valid")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{tmp}/wrong"], "got bees (did you mean bee?) in {tmp}/wrong; it knows ant, bee, cat"),
        (["{tmp}/table.yaml"], "got dog in {tmp}/table.yaml; it knows ant, bee, cat"),
        (["{tmp}/t.csv"], "got dog in {tmp}/t.csv; it knows ant, bee, cat"),
        (["{tmp}/table.yaml", "{home}/new"], "a recipe or a table stands alone as the data"),
        (["{tmp}/t.csv", "{home}/new"], "a recipe or a table stands alone as the data"),
        (["{home}/new", "--split", "valid"], "for a recipe or a table, got --split valid"),
        (["{home}/new", "data.root=x"], "for a recipe or a table, got data.root=x"),
        (["{tmp}/t.csv", "data.root=x"], "for a recipe or a table, got data.root=x"),
        (["{home}/nowhere"], "nowhere: no such file"),
        (["{tmp}/plain"], "must lie in folders named like classes, got {tmp}/plain/1.png in plain"),
        (["{tmp}/scenes.yaml"], "needs it: image_size must be 24 or more to tell shapes, got 8"),
        (["{tmp}/several.yaml"], "tells one label an image, and {tmp}/several.yaml has other"),
    ],
)
def test_what_cannot_judge_is_told(home, tmp_path, capsys, words, said):
    draw(tmp_path / "wrong" / "bees" / "1.png", 1)
    table(home, tmp_path, extra=f"\n{home}/new/cat/1.png,dog,test\n{home}/new/cat/3.png,dog,train")
    drawn = "image_size: 24, train: 3, valid: 3, test: 3"
    model = "model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 8}"
    (tmp_path / "scenes.yaml").write_text(f"data: {{name: scenes, {drawn}}}\n{model}")
    draw(tmp_path / "plain" / "1.png", 1)
    rows = [f"{home}/new/cat/{number}.png,cat|bee" for number in (1, 3, 5)]
    (tmp_path / "tags.csv").write_text("\n".join(["path,labels", *rows]))
    (tmp_path / "several.yaml").write_text(
        f"data: {{name: csv_multilabel, file: {tmp_path}/tags.csv, image_size: 24}}\n{model}\n"
        f"task: {{name: multilabel}}"
    )
    words = [x.format(tmp=tmp_path, home=home) for x in words]
    assert main(["evaluate", str(home / "run"), *words, *FEW]) == 2
    assert said.format(tmp=tmp_path, home=home) in capsys.readouterr().err


def test_what_cannot_be_prepared_otherwise_must_be_as_in_training(tmp_path):
    drawn = "data: {name: scenes, image_size: 24, train: 3, valid: 3, test: 3}"
    (tmp_path / "r.yaml").write_text(f"{drawn}\nmodel: {{name: vit, patch_size: 8}}")
    names = ScenesConfig().build().spec.names
    spec = Spec(image_size=(24, 24), names=names, mean=(0.1,) * 3)
    with pytest.raises(ValueError, match="must be prepared as in training, got Spec"):
        open_others([str(tmp_path / "r.yaml")], [], spec, tmp_path)
    known = replace(spec, mean=(0.5,) * 3, names=names[::-1])
    found = open_others([str(tmp_path / "r.yaml")], [], known, tmp_path)
    assert found.source.__getitems__([(0, 0), (0, 2)]).labels.tolist() == [
        len(names) - 1,
        len(names) - 3,
    ]
    assert found.source.masks([0]).shape == (1, 24, 24)


def test_a_label_that_other_data_do_not_name_counts_as_absent_and_is_told(tmp_path):
    for number in range(4):
        draw(tmp_path / f"{number}.png", number)
    rows = ["0.png,dog|cat,test", "1.png,,test", "2.png,dog,train", "3.png,cat,val"]
    (tmp_path / "tags.csv").write_text("\n".join(["path,labels,split", *rows]))
    (tmp_path / "r.yaml").write_text(
        f"data: {{name: csv_multilabel, file: {tmp_path}/tags.csv, image_size: 24}}\n"
        f"model: {{name: vit, patch_size: 8}}\ntask: {{name: multilabel}}"
    )
    spec = Spec(image_size=(8, 8), names=("dog", "rain", "cat"), several=True)
    with pytest.raises(ValueError, match="every label needs a training image, got none of cat"):
        open_others([str(tmp_path / "r.yaml")], [], spec, tmp_path)
    with (tmp_path / "tags.csv").open("a") as file:
        file.write("\n3.png,cat|dog,train")
    found = open_others([str(tmp_path / "r.yaml")], [], spec, tmp_path)
    assert found.source.__getitems__([(0, 0), (0, 1)]).labels.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert found.words.endswith("; it does not name rain, which counts as absent")
    with pytest.raises(ValueError, match="which folders cannot"):
        open_others([str(tmp_path)], [], spec, tmp_path)


@pytest.mark.parametrize("separator", ["|", ";"])
def test_a_table_of_several_labels_is_separated_as_in_training(tmp_path, separator):
    for number in range(3):
        draw(tmp_path / f"{number}.png", number)
    rows = [f"0.png,dog{separator} cat,test", "1.png,,test", "2.png,rain,train"]
    (tmp_path / "tags.csv").write_text("\n".join(["path,labels,split", *rows]))
    (tmp_path / "config.yaml").write_text(
        f"data: {{name: csv_multilabel, file: gone.csv, separator: '{separator}'}}\n"
        f"model: {{name: vit, patch_size: 8}}\ntask: {{name: multilabel}}"
    )
    spec = Spec(image_size=(8, 8), names=("dog", "rain", "cat", "fog"), several=True)
    found = open_others([str(tmp_path / "tags.csv")], [], spec, tmp_path)
    images, labels = found.source.__getitems__([(0, 0), (0, 1)])
    assert labels.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
    assert found.words.endswith("; it does not name fog, which counts as absent")
    expected = evaluate_batch([decode((tmp_path / "0.png").read_bytes(), 3)], spec)
    assert torch.equal(images[:1], expected)
    assert found.name == "tags"
    known = replace(spec, names=("dog", "cat"))
    with pytest.raises(ValueError, match="got rain in"):
        open_others([str(tmp_path / "tags.csv")], [], known, tmp_path, split="train")


def test_the_temperature_is_fitted_on_the_validation_images_of_the_run(home, tmp_path, monkeypatch):
    judge = Mock(return_value={})
    monkeypatch.setattr("vision_attn.commands.evaluate.evaluation", judge)
    (tmp_path / "out").mkdir()
    shutil.copytree(home / "run", tmp_path / "run")
    evaluate(tmp_path / "run", split="test", device="cpu", out=tmp_path / "out")
    held, data = judge.call_args.args[1], recipe_of(home / "run").data.build()
    valid = data.valid.__getitems__([(0, place) for place in range(len(data.valid))])
    assert torch.equal(torch.cat([batch.images for batch in held.fitting]), valid.images)
    assert held.source.labels.tolist() == data.test.labels.tolist()


def test_the_data_of_the_run_may_be_gone_and_its_temperature_stays(home, tmp_path):
    run, hidden = home / "run", home / "hidden"
    assert main(["evaluate", str(run), *FEW]) == 0
    own = json.loads((run / "evaluation-test.json").read_text())
    (home / "photos").rename(hidden)
    try:
        numbers, _ = judged(home, str(home / "new"))
    finally:
        hidden.rename(home / "photos")
    assert numbers["temperature"] == own["temperature"]
    assert json.loads((run / "evaluation-test.json").read_text()) == own
    shutil.rmtree(run / "evaluation" / "test")
    (run / "evaluation-test.json").unlink()
