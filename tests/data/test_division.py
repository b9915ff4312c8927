"""A run keeps its division of the files, and no later call tests on what trained it."""

import csv
import shutil
from pathlib import Path

import pytest
from picture_files import write_noise

from vision_attn.data.config import CsvConfig, FolderConfig
from vision_attn.data.division import (
    BY_PLACE,
    CHECKED,
    UNCHECKED,
    division,
    hold_out,
    keep_division,
)


@pytest.fixture
def root(tmp_path) -> Path:
    return write_noise(tmp_path / "set", 40, 9, 9)


def opened(root, **settings):
    return FolderConfig(root=str(root), image_size=7, test_share=0.25, **settings).build()


def test_the_same_seed_divides_alike_and_another_one_otherwise(root):
    first, again, other = (list(division(opened(root, split_seed=x))) for x in (3, 3, 4))
    assert first == again
    assert first != other
    counts = {(row.label, row.split): 0 for row in first}
    for row in first:
        counts[row.label, row.split] += 1
    assert counts == {
        (label, split): count
        for label in "ab"
        for split, count in (("train", 13), ("valid", 2), ("test", 5))
    }


def test_the_table_is_a_set_of_its_own_with_the_same_splits(root, tmp_path):
    data = opened(root)
    keep_division(tmp_path, data, fresh=True)
    rows = list(csv.DictReader((tmp_path / "split.csv").read_text().splitlines()))
    assert [row["place"] for row in rows] == [row.place for row in division(data)]
    again = CsvConfig(file=str(tmp_path / "split.csv"), image_size=7).build()
    assert {x[1:] for x in division(again)} == {x[1:] for x in division(data)}


def test_files_that_trained_are_not_tested_on_even_after_a_move(root, tmp_path):
    data = opened(root)
    keep_division(tmp_path, data, fresh=True)
    assert hold_out(tmp_path, data.test, "test") == (data.test, CHECKED)
    with pytest.raises(ValueError, match="26 of these 26 images trained the network"):
        hold_out(tmp_path, data.train, "test")
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert hold_out(tmp_path, opened(moved).test, "test").words == CHECKED
    for number in range(10):
        shutil.copy(root / "a/00.png", moved / "a" / f"0{number}_new.png")
    with pytest.raises(
        ValueError, match="of these 13 images trained the network or chose its weights, "
    ):
        hold_out(tmp_path, opened(moved).test, "test")


def test_a_run_that_goes_on_holds_to_its_division(root, tmp_path):
    keep_division(tmp_path, opened(root), fresh=True)
    kept = (tmp_path / "split.csv").read_bytes()
    keep_division(tmp_path, opened(root), fresh=False)
    (root / "b/39.png").unlink()
    with pytest.raises(ValueError, match="gone, new or in another split"):
        keep_division(tmp_path, opened(root), fresh=False)
    assert (tmp_path / "split.csv").read_bytes() == kept
    keep_division(tmp_path, opened(root), fresh=True)
    assert (tmp_path / "split.csv").read_bytes() != kept


def test_files_that_trained_are_known_by_any_path(root, tmp_path):
    data = opened(root)
    keep_division(tmp_path, data, fresh=True)
    chosen = [row for row in division(data) if row.split != "test"]
    table = tmp_path / "other.csv"
    lines = [
        f"{row.path},{row.label},{'train' if n % 3 else 'test'}" for n, row in enumerate(chosen)
    ]
    table.write_text("\n".join(["path,label,split", *lines]))
    other = CsvConfig(file=str(table), image_size=7).build()
    with pytest.raises(ValueError, match="10 of these 10 images trained the network or chose"):
        hold_out(tmp_path, other.test, "test")
    with pytest.raises(ValueError, match="4 of these 4 images trained the network or chose"):
        hold_out(tmp_path, data.valid, "test")
    assert hold_out(tmp_path, data.valid, "valid") == (data.valid, CHECKED)


def test_twins_of_what_trained_are_left_out_of_the_test(root, tmp_path):
    rows = list(division(opened(root)))
    trained = next(row for row in rows if row.split == "train")
    held = next(row for row in rows if row.split == "test" and row.label == trained.label)
    shutil.copy(trained.path, held.path)
    data = opened(root)
    keep_division(tmp_path, data, fresh=True)
    source, words = hold_out(tmp_path, data.test, "test")
    assert words == f"{CHECKED} (1 more are left out, for their twins had a part in it)"
    places = [x.place for x in map(source.file, range(len(source)))]
    assert places == [
        x.place for x in division(data) if x.split == "test" and x.place != held.place
    ]
    assert len(source) == len(source.labels) == 9


def test_what_is_not_checked_is_told(root, tmp_path):
    data = opened(root)
    assert hold_out(tmp_path, data.test, "test").words == UNCHECKED
    keep_division(tmp_path, data, fresh=True)
    path = tmp_path / "split.csv"
    path.write_text("\n".join(line.rpartition(",")[0] for line in path.read_text().splitlines()))
    assert hold_out(tmp_path, data.test, "test").words == BY_PLACE
    assert hold_out(tmp_path, object(), "test").words == UNCHECKED
    with pytest.raises(ValueError, match="images trained the network"):
        hold_out(tmp_path, data.train, "valid")
