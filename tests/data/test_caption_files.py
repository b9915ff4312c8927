import os
from pathlib import Path

import pytest
from tiny_captions import COUNT, captions, flickr8k, names, picture

from vision_attn.data.caption_files import list_caption_csv, list_flickr8k
from vision_attn.data.caption_listing import CaptionListing

REAL = Path(
    os.environ.get("VISION_ATTN_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)


def reasons(listing: CaptionListing) -> dict[str, str]:
    return {problem.path.split("/")[-1]: problem.reason for problem in listing.problems}


def splits(listing: CaptionListing) -> dict[str, str]:
    return {Path(file.path).name: file.split for file in listing.files}


@pytest.mark.parametrize("images", [".", "Images"])
def test_flickr8k_lists_images_with_their_captions_and_splits(tmp_path: Path, images: str):
    listing = list_flickr8k(str(flickr8k(tmp_path, images)))
    expected = dict.fromkeys(names(0, 9), "train") | dict.fromkeys(names(9), "valid")
    assert splits(listing) == expected
    assert listing.texts == [tuple(captions(index)) for index in range(COUNT)]
    assert all(Path(file.path).is_file() for file in listing.files)
    assert (listing.entries, listing.problems, listing.strays) == (6 * COUNT, [], [])


def test_a_test_list_is_read_and_a_dev_list_may_be_missing(tmp_path: Path):
    flickr8k(tmp_path)
    (tmp_path / "Flickr_8k.devImages.txt").rename(tmp_path / "Flickr_8k.testImages.txt")
    found = splits(list_flickr8k(str(tmp_path)))
    assert [found[name] for name in names()] == ["train"] * 9 + ["test"] * 4


def test_wrong_lines_of_flickr8k_are_listed(tmp_path: Path):
    flickr8k(tmp_path)
    with (tmp_path / "Flickr8k.token.txt").open("a") as file:
        file.write("3.png A dog\n3.png#0\tA cat\n4.png#7\t . \n\n77.png#0\tA cow\n")
    with (tmp_path / "Flickr_8k.devImages.txt").open("a") as file:
        file.write("99.png\n11.png\n3.png\n")
    listing = list_flickr8k(str(tmp_path))
    lines = 5 * COUNT
    assert reasons(listing) == {
        f"Flickr8k.token.txt:{lines + 1}": (
            "must be IMAGE#NUMBER, a tab and a caption, got '3.png A dog'"
        ),
        f"Flickr8k.token.txt:{lines + 2}": (f"the same entry as {tmp_path}/Flickr8k.token.txt:16"),
        f"Flickr8k.token.txt:{lines + 3}": "a caption must have words, got ' . '",
        "Flickr_8k.devImages.txt:5": "99.png has no captions",
        "Flickr_8k.devImages.txt:6": (
            f"11.png is listed before: {tmp_path}/Flickr_8k.devImages.txt:3 (valid)"
        ),
        "Flickr_8k.devImages.txt:7": (
            f"3.png is listed before: {tmp_path}/Flickr_8k.trainImages.txt:4 (train)"
        ),
    }
    assert [tuple(stray) for stray in listing.strays] == [
        ("77.png", "in no split; its 1 captions are not used")
    ]
    assert splits(listing)["3.png"] == "train"
    assert listing.texts[3] == tuple(captions(3))
    assert listing.entries == 6 * COUNT + 7


def test_missing_and_undecodable_files_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"token\.txt cannot be read: No such file"):
        list_flickr8k(str(tmp_path))
    flickr8k(tmp_path)
    (tmp_path / "Flickr8k.token.txt").write_bytes(b"a.png#0\t\xff\xfe")
    with pytest.raises(ValueError, match=r"token\.txt must be UTF-8 text"):
        list_flickr8k(str(tmp_path))
    (tmp_path / "Flickr8k.token.txt").write_text("nothing of use\n")
    message = r"must hold captioned images, got none; .*token.txt:1: must be IMAGE#NUMBER"
    with pytest.raises(ValueError, match=message):
        list_flickr8k(str(tmp_path))


def table(folder: Path, *lines: str) -> str:
    file = folder / "captions.csv"
    file.write_text("\ufeff" + "\n".join(lines) + "\n")
    return str(file)


def test_a_table_lists_images_with_their_captions(tmp_path: Path):
    file = table(
        tmp_path,
        "caption,image,split",
        '"A dog, asleep.",a/1.png,train',
        "Two cats,2.png,val",
        '"A ""good"" dog\nin two lines",a/1.png,',
        "A bird,3.png,test",
    )
    picture(tmp_path / "a" / "1.png", 1)
    listing = list_caption_csv(file, None)
    assert [(file.path, file.split) for file in listing.files] == [
        (str(tmp_path / "a/1.png"), "train"),
        (str(tmp_path / "2.png"), "valid"),
        (str(tmp_path / "3.png"), "test"),
    ]
    assert listing.texts[0] == ("A dog, asleep.", 'A "good" dog\nin two lines')
    assert listing.problems == []
    elsewhere = list_caption_csv(file, str(tmp_path / "images"))
    assert elsewhere.files[1].path == str(tmp_path / "images" / "2.png")


def test_wrong_rows_of_a_table_are_listed(tmp_path: Path):
    file = table(
        tmp_path,
        "image,caption,split",
        "1.png,A dog,train",
        "1.png,A dog,train",
        "1.png,A cat,test",
        ",A cow,train",
        "2.png,A cow,extra",
        "2.png,,train",
        "3.png",
        "4.png,A horse,val",
    )
    listing = list_caption_csv(file, None)
    known = "train, training, val, valid, validation, test"
    assert reasons(listing) == {
        "captions.csv:3": f"the same entry as {file}:2",
        "captions.csv:4": f"1.png is in another split: {file}:2 (train)",
        "captions.csv:5": (
            f"an image and a split of {known} are needed, got image='' and split='train'"
        ),
        "captions.csv:6": (
            f"an image and a split of {known} are needed, got image='2.png' and split='extra'"
        ),
        "captions.csv:7": "2.png has no captions",
        "captions.csv:8": "3.png has no captions",
    }
    assert len(listing.problems) == 8  # two of them about line 7, two about line 8
    assert splits(listing) == {"1.png": "train", "4.png": "valid"}


@pytest.mark.parametrize("lines", [2, 9000])
def test_a_quote_left_open_is_told(tmp_path: Path, lines: int):
    rows = [f"{number}.png,A dog in line {number}" for number in range(lines)]
    for beginning in (("image,caption", '0.png,"A dog'), ('image,"caption',)):
        file = table(tmp_path, *beginning, *rows)
        with pytest.raises(ValueError, match="must be a table with every quote closed"):
            list_caption_csv(file, None)


@pytest.mark.parametrize("lines", [("file,caption", "a.png,A dog"), ("",)])
def test_a_table_without_a_header_is_refused(tmp_path: Path, lines: tuple[str, ...]):
    with pytest.raises(ValueError, match="must have a header with image and caption, got"):
        list_caption_csv(table(tmp_path, *lines), None)
    with pytest.raises(ValueError, match="must hold captioned images, got none"):
        list_caption_csv(table(tmp_path, "image,caption"), None)


def test_real_flickr8k_is_listed_without_a_problem():
    root = REAL / "flickr8k"
    if not root.exists():
        pytest.skip(f"{root} is not here; set VISION_ATTN_DATA to the folder that has it")
    listing = list_flickr8k(str(root))
    found = [file.split for file in listing.files]
    assert (found.count("train"), found.count("valid")) == (5997, 1000)
    assert {len(texts) for texts in listing.texts} == {5}
    assert (listing.problems, listing.strays) == ([], [])
    assert all(Path(file.path).is_file() for file in listing.files[::500])
