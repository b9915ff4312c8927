import os
import tarfile
from pathlib import Path

import pytest

from vision_attn.data.files import Listing, list_csv, list_folder, list_tar


def write(root: Path, *places: str) -> Path:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(place.encode())
    return root


def packed(root: Path, prefix: str = "", mode: str = "w") -> str:
    file = root.with_suffix(".tar")
    with tarfile.open(file, mode) as tar:
        tar.add(root, prefix or "./")
    return str(file)


def found(listing: Listing) -> set[tuple[str, str, str]]:
    return {(f.split, f.label, f.read().decode().split("/")[-1]) for f in listing.files}


LAYOUTS = {
    "class folders": (
        ["dog/1.png", "cat/2.png", "cat/old/3.png", ".git/x", "cat/.DS_Store", "README"],
        {("train", "dog", "1.png"), ("train", "cat", "2.png"), ("train", "cat", "3.png")},
    ),
    "split folders": (
        ["train/dog/1.png", "train/cat/2.png", "val/dog/3.png", "test/cat/4.png", "train/README"],
        {
            ("train", "dog", "1.png"),
            ("train", "cat", "2.png"),
            ("valid", "dog", "3.png"),
            ("test", "cat", "4.png"),
        },
    ),
    "a folder around all": (
        ["set/train/dog/1.png", "set/valid/cat/2.png", "README"],
        {("train", "dog", "1.png"), ("valid", "cat", "2.png")},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["folder", "tar", "tar with a prefix"])
def test_places_tell_split_and_class(tmp_path: Path, layout: str, kind: str):
    places, wanted = LAYOUTS[layout]
    root = write(tmp_path / "root", *places)
    if kind == "folder":
        listing = list_folder(str(root))
    else:
        listing = list_tar(packed(root, "some/prefix" if "prefix" in kind else ""))
    assert found(listing) == wanted
    assert listing.names == ("cat", "dog")
    assert [listing.names[label] for label in listing.labels] == [f.label for f in listing.files]
    strays = [problem.path for problem in listing.strays]
    assert all(path.endswith("README") for path in strays)
    assert len(strays) == any("README" in place for place in places)


def test_files_come_in_the_order_of_their_names_whatever_that_of_the_disk(tmp_path, monkeypatch):
    places = [f"{kind}/{number}.png" for kind in ("bee", "cat", "dog") for number in range(5)]
    root = write(tmp_path / "root", *places)
    plain = os.walk

    def backwards(top, **settings):
        for folder, folders, files in plain(top, **settings):
            folders.sort(reverse=True)
            yield folder, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert [file.place for file in list_folder(str(root)).files] == places
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        for place in reversed(places):
            tar.add(root / place, place)
    assert [file.place for file in list_tar(str(tmp_path / "root.tar")).files] == places


@pytest.mark.parametrize("around", ["", "set/"])
def test_a_folder_beside_those_of_splits_is_refused_by_name(tmp_path: Path, around: str):
    places = ["train/square/1.png", "train/circle/2.png", "val/square/3.png", "meta/a/notes.txt"]
    root = write(tmp_path / "root", *(around + place for place in places))
    said = f"got {root}/{around}meta beside train, val; move it to another place"
    with pytest.raises(ValueError, match=said):
        list_folder(str(root))
    with pytest.raises(ValueError, match=rf"root\.tar/{around}meta beside"):
        list_tar(packed(root))


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path):
    root = write(tmp_path / "root", "bus/1.png", "train/2.png", "car/3.png")
    listing = list_folder(str(root))
    assert listing.names == ("bus", "car", "train")
    assert {file.split for file in listing.files} == {"train"}


def test_long_names_in_a_tar_are_read_in_place(tmp_path: Path):
    places = [f"{'a' * 90}/{'b' * 99}/{i}.png" for i in range(3)] + ["c/d.png"]
    listing = list_tar(packed(write(tmp_path / "root", *places)))
    assert {f.read().decode() for f in listing.files} == set(places)


def test_links_in_a_tar_are_listed_as_problems(tmp_path: Path):
    root = write(tmp_path / "root", "dog/1.png", "cat/2.png")
    (root / "cat" / "3.png").symlink_to("2.png")
    listing = list_tar(packed(root))
    assert [(p.path.split(":")[1], p.reason) for p in listing.strays] == [
        ("./cat/3.png", "a link, not a file")
    ]


def test_a_table_gives_paths_labels_and_splits(tmp_path: Path):
    write(tmp_path, "a/1.png", "2.png")
    table = tmp_path / "table.csv"
    table.write_text("\ufefflabel,path,split\ndog,a/1.png,train\ncat,2.png,val\ncat,gone.png,\n")
    listing = list_csv(str(table))
    assert [(f.split, f.label) for f in listing.files] == [
        ("train", "dog"),
        ("valid", "cat"),
        ("train", "cat"),
    ]
    assert [f.read().decode() for f in listing.files[:2]] == ["a/1.png", "2.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,dog\n", "header with path and label"),
        ("path,label\n", "header with path and label"),
        ("path,label\na.png,\n", "1 of 1 rows are wrong\n  line 2: label is empty"),
        (
            "path,label,split\na.png,dog,train\nb.png,cat,extra\n",
            "line 3: split must be one of .*, got extra",
        ),
        (
            "path,label\n" + ",cat\n" * 11 + "a.png,dog,more\n",
            "12 of 12 rows are wrong(\n  line .*: path is empty){10}\n  and 2 more",
        ),
        ("path,label\na.png,dog\n", "two or more classes, got 1 files of 1 classes"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        list_csv(str(tmp_path / "table.csv"))


def test_a_packed_tar_and_missing_sources_are_refused(tmp_path: Path):
    write(tmp_path / "root", "dog/1.png", "cat/2.png")
    with pytest.raises(ValueError, match="must be an uncompressed tar"):
        list_tar(packed(tmp_path / "root", mode="w:gz"))
    for opens in (list_tar, list_csv, list_folder):
        with pytest.raises(ValueError, match="gone"):
            opens(str(tmp_path / "gone"))


def test_a_folder_without_classes_is_refused(tmp_path: Path):
    write(tmp_path, "1.png", "2.png")
    with pytest.raises(ValueError, match="two or more classes, got 0 files"):
        list_folder(str(tmp_path))
