import json
from pathlib import Path
from typing import Any

import pytest
from tiny_captions import captions, picture

from vision_attn.data.caption_json import list_coco, list_karpathy
from vision_attn.data.caption_listing import CaptionListing


def write(folder: Path, content: Any, name: str = "dataset.json") -> str:
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def reasons(listing: CaptionListing) -> dict[str, str]:
    return {problem.path.split(": ")[-1]: problem.reason for problem in listing.problems}


def karpathy(index: int, split: str, **more: Any) -> dict[str, Any]:
    return {
        "filename": f"{index}.png",
        "split": split,
        "sentences": [
            {"raw": text, "tokens": text.lower().split(), "sentid": 10 * index + number}
            for number, text in enumerate(captions(index))
        ],
        "imgid": index,
    } | more


def test_karpathy_gives_raw_captions_by_split(tmp_path: Path):
    splits = ["train", "restval", "val", "test"]
    images = [karpathy(index, split) for index, split in enumerate(splits)]
    for index in range(4):
        picture(tmp_path / "pictures" / f"{index}.png", index)
    file = write(tmp_path, {"dataset": "flickr8k", "images": images})
    listing = list_karpathy(file, str(tmp_path))
    assert [x.split for x in listing.files] == ["train", "train", "valid", "test"]
    assert listing.files[2].path == str(tmp_path / "pictures" / "2.png")
    assert listing.texts[3] == tuple(captions(3))
    assert (listing.entries, listing.problems) == (24, [])


def test_karpathy_names_the_folders_of_coco(tmp_path: Path):
    picture(tmp_path / "val2014" / "0.png", 0)
    picture(tmp_path / "train2014" / "1.png", 1)
    images = [karpathy(0, "val", filepath="val2014"), karpathy(1, "train", filepath="train2014")]
    listing = list_karpathy(write(tmp_path, {"images": images}), str(tmp_path))
    assert [Path(x.path).is_file() for x in listing.files] == [True, True]


def test_wrong_entries_of_karpathy_are_listed(tmp_path: Path):
    bad = karpathy(1, "train")
    bad["sentences"] = [
        {"tokens": ["a"]},
        {"raw": "a bird"},
        {"raw": 7},
        {"raw": "a cow", "sentid": 2},
        {"raw": "a cow, too", "sentid": [2]},
    ]
    images = [karpathy(0, "train"), bad, karpathy(2, "rest"), {"filename": "3.png"}, "4.png"]
    again = {"raw": "a cow", "sentid": 99}
    images += [karpathy(0, "val", sentences=[again]), karpathy(5, "val")]
    listing = list_karpathy(write(tmp_path, {"images": images}), str(tmp_path))
    needed = "must have filename, sentences and a split of "
    needed += "train, training, val, valid, validation, test, restval"
    file = tmp_path / "dataset.json"
    assert reasons(listing) == {
        "images[1].sentences[0]": "must have raw, the text of a caption",
        "images[1].sentences[2]": "a caption must have words, got 7",
        "images[1].sentences[3]": f"the same entry as {file}: images[0].sentences[2]",
        "images[2]": needed,
        "images[3]": needed,
        "images[4]": needed,
        "images[5]": f"0.png is listed before: {file}: images[0] (train)",
    }
    assert listing.texts == [tuple(captions(0)), ("a bird", "a cow, too"), tuple(captions(5))]


def coco(start: int, stop: int) -> dict[str, Any]:
    return {
        "images": [{"id": 100 + i, "file_name": f"{i}.png"} for i in range(start, stop)],
        "annotations": [
            {"id": 10 * i + number, "image_id": 100 + i, "caption": text}
            for i in range(start, stop)
            for number, text in enumerate(captions(i))
        ],
    }


def test_coco_reads_a_file_for_each_split(tmp_path: Path):
    for index in range(5):
        folder = "train2017" if index < 3 else "val2017"
        picture(tmp_path / folder / f"{index}.png", index)
    train = write(tmp_path, coco(0, 3), "captions_train2017.json")
    valid = write(tmp_path, coco(3, 5), "captions_val2017.json")
    listing = list_coco(train, valid, None, str(tmp_path))
    assert [x.split for x in listing.files] == ["train"] * 3 + ["valid"] * 2
    assert all(Path(x.path).is_file() for x in listing.files)
    assert listing.texts == [tuple(captions(i)) for i in range(5)]
    flat = list_coco(train, None, valid, str(tmp_path / "val2017"))
    assert [x.split for x in flat.files] == ["train"] * 3 + ["test"] * 2
    assert Path(flat.files[3].path).is_file()


def test_wrong_entries_of_coco_are_listed(tmp_path: Path):
    content = coco(0, 3)
    content["images"] += [
        {"id": 100, "file_name": "x.png"},
        {"id": "7", "file_name": "y.png"},
        {"id": 9, "file_name": "lonely.png"},
    ]
    content["annotations"] += [
        {"id": 1, "image_id": 100, "caption": "A cow"},
        {"id": 98, "image_id": 5, "caption": "A cow"},
        {"id": 99, "image_id": 101, "caption": None},
        {"id": 97, "image_id": 101},
        17,
        {"id": [1], "image_id": 102, "caption": "A goat"},
    ]
    file = write(tmp_path, content, "train.json")
    listing = list_coco(file, write(tmp_path, coco(2, 4), "val.json"), None, str(tmp_path))
    assert reasons(listing) == {
        "images[3]": "id 100 is that of 0.png, too",
        "images[4]": "must have id, a whole number, and file_name",
        "images[5]": "lonely.png has no captions",
        "annotations[15]": f"the same entry as {file}: annotations[1]",
        "annotations[16]": "no image has the id 5",
        "annotations[17]": "a caption must have words, got None",
        "annotations[18]": "must have image_id and caption",
        "annotations[19]": "must have image_id and caption",
        "images[0]": f"2.png is listed before: {file}: images[2] (train)",
    }
    assert [x.split for x in listing.files] == ["train"] * 3 + ["valid"]
    texts = [tuple(captions(i)) for i in range(4)]
    assert listing.texts == [*texts[:2], (*texts[2], "A goat"), texts[3]]
    assert [tuple(stray) for stray in listing.strays] == [
        (f"{tmp_path}/val.json: 2.png", "in no split; its 5 captions are not used")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be JSON: Expecting property name"),
        ("[]", "must hold a list called images"),
        ('{"images": 3}', "must hold a list called images"),
        ('{"images": [], "annotations": []}', "must hold captioned images, got none"),
    ],
)
def test_what_is_no_annotation_file_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "bad.json").write_text(content)
    for read in (
        lambda file: list_karpathy(file, str(tmp_path)),
        lambda file: list_coco(file, None, None, str(tmp_path)),
    ):
        with pytest.raises(ValueError, match=message):
            read(str(tmp_path / "bad.json"))
