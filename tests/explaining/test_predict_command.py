"""The predict command as a user meets it: tables, bad files, overlays, going on, refusals."""

import csv
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import draw

from vision_attn.__main__ import main
from vision_attn.data.config import FolderConfig, ScenesConfig, TarConfig
from vision_attn.data.decode import decode
from vision_attn.data.transforms import evaluate_batch
from vision_attn.explaining import predict as command
from vision_attn.explaining import tables
from vision_attn.explaining.journal import Journal
from vision_attn.explaining.predict import predict
from vision_attn.explaining.predictor import Reader
from vision_attn.explaining.sources import Files, Split
from vision_attn.models.config import ViTConfig
from vision_attn.recipe import Recipe
from vision_attn.trained import load_model


def rows(path):
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    return parquet.read_table(path).to_pylist()


def expected(run, path):
    """Ask the network itself, one image at a time."""
    model, spec = load_model(run)
    image = evaluate_batch([decode(path.read_bytes(), 3)], spec)
    with torch.no_grad():
        shares = model(image).softmax(-1)[0]
    return [(spec.names[place], shares[place].item()) for place in shares.argsort(descending=True)]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_good_file_has_a_row_and_every_bad_one_a_reason(
    runs, pictures, tmp_path, capsys, ending
):
    out = tmp_path / f"preds.{ending}"
    arguments = ["predict", str(runs["vit"]), str(pictures), "--out", str(out), "--top-k", "3"]
    assert main([*arguments, "--batch-size", "6", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out == f"4 images predicted\ntable: {out}\n"
    assert "3 files left out, listed in" in said.err
    found = rows(out)
    assert [row["path"] for row in found] == [
        str(pictures / name) for name in ("a.jpg", "copy.jpg", "star/a.jpg", "wide.png")
    ]
    for row in found:
        best = expected(runs["vit"], pictures / row["path"])
        for rank, ending in enumerate(("", "_2", "_3")):
            assert row[f"class{ending}"] == best[rank][0]
            assert float(row[f"probability{ending}"]) == pytest.approx(best[rank][1], rel=1e-4)
        assert "class_4" not in row
        assert "label" not in row
    problems = rows(tmp_path / "preds.problems.jsonl")
    assert {line["path"].rpartition("/")[2]: line["reason"][:8] for line in problems} == {
        "cut.jpg": "damaged:",
        "empty.png": "empty fi",
        "notes.txt": "not an i",
    }
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        out.name,
        "preds.problems.jsonl",
    ]


def test_an_accelerator_and_a_cpu_are_given_the_same_batches(runs, pictures):
    _, spec = load_model(runs["vit"])
    reader = Reader(Files(sorted(pictures.iterdir()), spec.names), spec)
    spans = [range(3), range(3, len(reader.source))]
    found = [list(reader.batches(spans, 2, torch.device(kind))) for kind in ("cpu", "cuda")]
    for (places, lines, images), other in zip(*found, strict=True):
        assert (places, lines) == (other.places, other.lines)
        assert sum("reason" not in line for line in lines) == len(images)
        assert images.dtype == torch.uint8  # a quarter of the bytes to move
        assert torch.equal(images, other.images)


def test_labels_are_told_where_they_are_known(runs, recipe, tmp_path):
    out = tmp_path / "preds.csv"
    predict(str(runs["resnet"]), [str(recipe)], out, top_k=1, batch_size=2, device="cpu")
    test = ScenesConfig(image_size=24, train=7, valid=5, test=5).build().test
    names = load_model(runs["resnet"])[1].names
    _, labels = test.__getitems__([(0, place) for place in range(5)])
    found = rows(out)
    assert [row["label"] for row in found] == [names[label] for label in labels]
    assert list(found[0]) == ["path", "label", "class", "probability"]


def test_overlays_are_drawn_for_the_answer(runs, pictures, tmp_path):
    out = tmp_path / "preds.csv"
    settings = {"saliency": "grad_cam", "device": "cpu", "batch_size": 3}
    predict(str(runs["resnet"]), [str(pictures)], out, **settings)
    found = rows(out)
    files = [row["saliency"] for row in found]
    assert files[0].endswith("preds-saliency/000000-a.png")
    assert len(set(files)) == 4
    for row in found:
        with Image.open(row["saliency"]) as image:
            assert min(image.size) >= 224
            assert np.asarray(image).std() > 1


def test_a_call_that_was_cut_short_goes_on(runs, tmp_path, monkeypatch):
    for place in range(7):
        draw(tmp_path / f"{place}.png", seed=place)
    whole, out = tmp_path / "whole.csv", tmp_path / "out" / "preds.csv"
    settings = {"batch_size": 2, "device": "cpu"}
    pattern = str(tmp_path / "*.png")
    predict(str(runs["vit"]), [pattern], whole, **settings)
    append, calls = Journal.append, []

    def killed(journal, lines):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(lines)
        append(journal, lines)

    monkeypatch.setattr(Journal, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        predict(str(runs["vit"]), [pattern], out, **settings)
    monkeypatch.setattr(Journal, "append", append)
    assert not out.exists()
    with (out.parent / "preds.csv.journal").open("a") as file:
        file.write('{"path": "cut sho')
    found = predict(str(runs["vit"]), [pattern], out, **settings)
    assert (found.images, found.finished, found.problems) == (7, 4, 0)
    assert out.read_bytes() == whole.read_bytes()


def test_what_was_said_of_a_file_that_changed_since_is_forgotten(runs, tmp_path, monkeypatch):
    for place in range(4):
        draw(tmp_path / f"{place}.png", seed=place)
    out, append = tmp_path / "preds.csv", Journal.append

    def killed_after_one(journal, lines):
        if journal.path.read_text().count("\n") > 1:
            raise KeyboardInterrupt
        append(journal, lines)

    settings = {"batch_size": 2, "device": "cpu"}
    pattern = str(tmp_path / "*.png")
    monkeypatch.setattr(Journal, "append", killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        predict(str(runs["vit"]), [pattern], out, **settings)
    monkeypatch.setattr(Journal, "append", append)
    draw(tmp_path / "0.png", seed=11)
    os.utime(tmp_path / "0.png", ns=(1, 1))  # a clock may be too coarse to tell the two apart
    assert predict(str(runs["vit"]), [pattern], out, **settings).finished == 0
    again = expected(runs["vit"], tmp_path / "0.png")
    assert float(rows(out)[0]["probability"]) == pytest.approx(again[0][1], rel=1e-4)


def test_images_of_a_set_are_told_by_the_files_that_keep_them(tmp_path):
    for place in range(8):
        folder = tmp_path / "photos" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder / f"{place}.png", seed=place)
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(tmp_path / "photos", "photos")
    folder = FolderConfig(root=str(tmp_path / "photos"), image_size=24, valid_share=0.5)
    packed = TarConfig(file=str(tmp_path / "photos.tar"), image_size=24, valid_share=0.5)
    for data in (folder, packed, ScenesConfig(image_size=24, train=7, valid=5, test=5)):
        recipe = Recipe(data=data, model=ViTConfig())
        (tmp_path / "r.yaml").write_text(json.dumps(recipe.to_dict()))
        source = Split(tmp_path / "r.yaml", data.build().spec)
        if data is folder:
            assert source.files == source.paths
        else:
            kept = {str(tmp_path / "photos.tar")} if data is packed else {""}
            assert set(source.files) == kept
        assert len(source.files) == len(source) == len(source.paths)


def test_what_another_network_said_is_forgotten(runs, tmp_path):
    draw(tmp_path / "a.png", seed=1)
    kept = tmp_path / "preds.csv.journal"
    kept.write_text('{"model": "another"}\n{"path": "a.png", "class": "wrong"}\n')
    found = predict(str(runs["vit"]), [str(tmp_path / "a.png")], tmp_path / "preds.csv")
    assert found.finished == 0
    assert not kept.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "preds.txt"], "--out must end in .csv, .jsonl, .parquet, got preds.txt"),
        (["--top-k", "99"], "--top-k must be in [1, "),
        (["--saliency", "grad_camm"], "--saliency: there is no grad_camm; did you mean grad_cam?"),
        (["--saliency", "rollout"], "--saliency: rollout is undefined for resnet"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_read(runs, tmp_path, capsys, options, said):
    draw(tmp_path / "a.png", seed=1)
    arguments = ["predict", str(runs["resnet"]), str(tmp_path / "a.png"), "--device", "cpu"]
    assert main([*arguments, "--out", str(tmp_path / "p.csv"), *options]) == 2
    assert capsys.readouterr().err.startswith(said)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'vision_attn\[parquet\]'"):
        tables.check_format(tmp_path / "p.parquet")


def test_not_one_usable_image_is_an_error(runs, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"none of 1 images could be used.*\n.*notes.txt"):
        predict(str(runs["vit"]), [str(tmp_path / "notes.txt")], tmp_path / "p.csv")


def test_a_call_that_failed_may_be_made_again_once_the_file_is_mended(runs, tmp_path):
    image, out = tmp_path / "a.png", tmp_path / "p.csv"
    image.write_text("no picture")
    with pytest.raises(ValueError, match="none of 1 images could be used"):
        predict(str(runs["vit"]), [str(image)], out)
    assert not (tmp_path / "p.csv.journal").exists()
    draw(image, seed=1)
    found = predict(str(runs["vit"]), [str(image)], out)
    assert (found.finished, found.problems, len(rows(out))) == (0, 0, 1)


def test_parquet_in_several_groups_is_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "GROUP", 2)
    lines = [{"path": f"{place}", "probability": place / 8} for place in range(5)]
    tables.write_table(tmp_path / "t.parquet", {"path": str, "probability": float}, lines)
    assert rows(tmp_path / "t.parquet") == lines


def test_no_more_than_a_few_batches_are_in_memory(runs, tmp_path, monkeypatch):
    for place in range(12):
        draw(tmp_path / f"{place}.png", seed=place)
    alive, most = 0, 0
    reader = command.Reader.__call__

    def counted(self, places):
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return reader(self, places)

    def lines(self, batch, draw):
        nonlocal alive
        alive -= 1
        return batch.lines

    monkeypatch.setattr(command.Reader, "__call__", counted)
    monkeypatch.setattr(command.Predictor, "lines", lines)
    settings = {"batch_size": 1, "workers": 2, "device": "cpu"}
    for _ in range(2):  # what the first call wrote is no source of the second
        found = predict(str(runs["vit"]), [str(tmp_path)], tmp_path / "p.csv", **settings)
        assert (found.images, found.problems) == (12, 0)
    assert most <= 4
