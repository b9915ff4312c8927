"""Planted duplicates are found: copies, other compressions, other sizes; nothing else is."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from vision_attn.__main__ import main
from vision_attn.commands.data import inspect
from vision_attn.data.config import FolderConfig
from vision_attn.data.duplicates import Prints, Twins, print_of, twins


def photograph(seed: int) -> np.ndarray:
    """Draw what has the slow and the fast waves of a photograph."""
    draw = np.random.default_rng(seed)
    pixels = sum(
        cv2.resize(draw.normal(0, 90 / size, (size, size, 3)), (96, 128)) * size**0.5
        for size in (3, 6, 12, 24)
    )
    return (pixels + 128).clip(0, 255).astype(np.uint8)


def write(path: Path, pixels: np.ndarray, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A set whose validation images are partly training images."""
    root = tmp_path_factory.mktemp("set")
    for number in range(24):
        write(root / "train" / "ab"[number % 2] / f"{number}.jpg", photograph(number))
        write(root / "val" / "ab"[number % 2] / f"{number}.jpg", photograph(100 + number))
    shutil.copy(root / "train/a/0.jpg", root / "val/a/copied.jpg")
    shutil.copy(root / "train/a/2.jpg", root / "val/b/otherwise_labelled.jpg")
    write(root / "val/a/compressed.jpg", photograph(4), quality=40)
    write(root / "val/a/smaller.jpg", cv2.resize(photograph(6), (48, 64)))
    write(root / "val/b/larger.png", cv2.resize(photograph(7), (192, 256)))
    return root


def test_planted_duplicates_are_found_and_no_others(root, tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"data: {{name: folder, root: {root}, image_size: 64}}\nmodel: {{name: vit}}")
    assert main(["data", str(recipe), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "| images | 24 | 29 |" in said
    assert "| validation images that are training images | 2 | 3 | 1 |" in said
    rows = list(csv.DictReader((tmp_path / "out" / "duplicates.csv").read_text().splitlines()))
    found = {
        (row["kind"], Path(row["first"]).name, Path(row["second"]).name, row["second_label"])
        for row in rows
    }
    assert found == {
        ("same file", "0.jpg", "copied.jpg", "a"),
        ("same file", "2.jpg", "otherwise_labelled.jpg", "b"),
        ("looks alike", "4.jpg", "compressed.jpg", "a"),
        ("looks alike", "6.jpg", "smaller.jpg", "a"),
        ("looks alike", "7.jpg", "larger.png", "b"),
    }
    drawn = cv2.imread(str(tmp_path / "out" / "duplicates.png"))
    assert drawn.shape == (2 * 128, 5 * 128, 3)
    assert np.abs(drawn[:128].astype(int) - drawn[128:]).mean() < 6


@pytest.mark.parametrize("memory", ["always", "never"])
def test_opening_a_set_remarks_on_files_that_are_in_two_splits(root, memory):
    data = FolderConfig(root=str(root), image_size=17, memory=memory).build()
    (remark,) = data.remarks
    assert "2 of 29 validation images are training images too, byte for byte" in remark
    assert str(root / "val/a/copied.jpg") in remark


def test_every_split_is_held_against_every_other(tmp_path):
    root = tmp_path / "set"
    for place, split in enumerate(("train", "val", "test")):
        for number in range(6):
            path = root / split / "ab"[number % 2] / f"{number}.jpg"
            write(path, photograph(100 * place + number))
    for there, number in (("train", 0), ("val", 2)):
        shutil.copy(root / there / f"a/{number}.jpg", root / "test" / "a" / f"of_{there}.jpg")
    write(root / "test/b/like_val.jpg", photograph(103), quality=40)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"data: {{name: folder, root: {root}, image_size: 64}}\nmodel: {{name: vit}}")
    found = {(x.kind, x.first_split, Path(x.second).name) for x in inspect(recipe).twins}
    assert found == {
        ("same file", "training", "of_train.jpg"),
        ("same file", "validation", "of_val.jpg"),
        ("looks alike", "validation", "like_val.jpg"),
    }
    remarks = FolderConfig(root=str(root), image_size=17).build().remarks
    assert [remark.partition(" images too")[0] for remark in remarks] == [
        "data: 1 of 9 test images are training",
        "data: 1 of 9 test images are validation",
    ]


def test_a_set_without_duplicates_gets_no_remark(root, tmp_path):
    shutil.copytree(root / "train", tmp_path / "set")
    data = FolderConfig(root=str(tmp_path / "set"), image_size=17, valid_share=0.3).build()
    assert data.remarks == []


def test_twins_are_those_of_every_pair_by_itself(monkeypatch):
    draw = np.random.default_rng(0)
    near = np.concatenate([draw.integers(0, 2, (13, 64)), draw.integers(0, 2, (7, 64))])
    flips = np.stack([draw.permutation(64) < count for count in range(20)])
    copies = draw.integers(0, 256, (20, 256), np.uint8)
    one = Prints(np.arange(20, dtype=np.uint64), packed(near), copies)
    noisy = (copies.astype(int) + draw.integers(-3, 4, copies.shape)).clip(0, 255).astype(np.uint8)
    two = Prints(np.arange(100, 120, dtype=np.uint64), packed(near ^ flips), noisy)
    two.digests[11] = 3
    found = set(twins(one, two))
    expected = {Twins("looks alike", place, place) for place in range(7)}
    assert found == expected | {Twins("same file", 3, 11)}
    for name in ("ROWS", "PAIRS"):
        monkeypatch.setattr(f"vision_attn.data.duplicates.{name}", 3)
    assert set(twins(one, two)) == found


def packed(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def test_blank_images_are_alike_and_grey_ones_are_those_of_their_colours():
    white, red = np.full((30, 20, 3), 255, np.uint8), photograph(3)
    assert print_of(white)[0] == print_of(white[:10])[0]
    grey = cv2.cvtColor(red, cv2.COLOR_RGB2GRAY)
    one, two = print_of(red), print_of(grey[..., None])
    assert one[0] == two[0]
    np.testing.assert_array_equal(one[1], two[1])


def test_drawn_data_are_counted_only(tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    data = "data: {name: scenes, image_size: 24, train: 7, valid: 5, test: 5}\n"
    recipe.write_text(f"{data}model: {{name: vit}}")
    assert main(["data", str(recipe)]) == 0
    said = capsys.readouterr().out
    assert "| images | 7 | 5 | 5 |" in said
    assert "not searched" in said
