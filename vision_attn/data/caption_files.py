"""Captions in text files: Flickr8k as it is distributed, and tables."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from vision_attn.data.caption_listing import CaptionListing, Gathering, Image, folder_of, read_text
from vision_attn.data.splits import FOLDERS, SplitName

LISTS: dict[str, SplitName] = {
    "Flickr_8k.trainImages.txt": "train",
    "Flickr_8k.devImages.txt": "valid",
    "Flickr_8k.testImages.txt": "test",
}
_LINE = re.compile(r"(?P<image>.+)#(?P<number>\d+)\t(?P<text>.*)")


def list_flickr8k(root: str) -> CaptionListing:
    """Read Flickr8k.token.txt (IMAGE#NUMBER, a tab, a caption) and the lists of the splits.

    A missing dev list has images held out for it, a missing test list leaves the set without.
    """
    folder, gathering = Path(root), Gathering()
    for number, line in enumerate(_lines(folder / "Flickr8k.token.txt"), start=1):
        place = f"{folder / 'Flickr8k.token.txt'}:{number}"
        if match := _LINE.fullmatch(line):
            key = match["image"], match["number"]
            gathering.add(match["image"], match["text"], place, key)
        elif line.strip():
            gathering.wrong(place, f"must be IMAGE#NUMBER, a tab and a caption, got {line[:60]!r}")
    listed = [
        (line.strip(), split, f"{folder / file}:{number}")
        for file, split in LISTS.items()
        if split == "train" or (folder / file).exists()
        for number, line in enumerate(_lines(folder / file), start=1)
        if line.strip()
    ]
    images = folder_of(folder, [name for name, _, _ in listed])
    return gathering.listing(
        (Image(name, images / name, split, place) for name, split, place in listed), root
    )


def list_caption_csv(file: str, root: str | None) -> CaptionListing:
    """Read a table with the columns image, caption and perhaps split, a line for each caption."""
    folder, gathering = Path(root) if root else Path(file).parent, Gathering()
    images: dict[str, Image] = {}
    for line, row in _rows(file):
        name, text, split = row["image"], row["caption"], row.get("split") or "train"
        place = f"{file}:{line}"
        if not name or split not in FOLDERS:
            known = ", ".join(FOLDERS)
            gathering.wrong(
                place,
                f"an image and a split of {known} are needed, got image={name!r} and "
                f"split={split!r}",
            )
            continue
        image = images.setdefault(name, Image(name, folder / name, FOLDERS[split], place))
        if image.split != FOLDERS[split]:
            gathering.wrong(place, f"{name} is in another split: {image.place} ({image.split})")
        else:
            gathering.add(name, text, place, (name, text))
    return gathering.listing(images.values(), file)


def _rows(file: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Give the rows of a table, and the line each ends at; raises ValueError for wrong quotes."""
    rows = csv.DictReader(io.StringIO(read_text(Path(file)), newline=""), restval="", strict=True)
    try:
        if not {"image", "caption"} <= set(rows.fieldnames or ()):
            raise ValueError(
                f"{file} must have a header with image and caption, got {rows.fieldnames}"
            )
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise ValueError(
            f"{file} must be a table with every quote closed, and doubled inside others, got an "
            f"error near line {rows.line_num}: {error}"
        ) from None


def _lines(path: Path) -> list[str]:
    return read_text(path).split("\n")
