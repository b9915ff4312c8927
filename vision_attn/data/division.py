"""How a run divided its files, kept beside it, so that no later call tests on what trained it."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.data.batch import Data
from vision_attn.data.splits import SPLITS, SplitName

TABLE = "split.csv"
CHECKED = ", which it was not trained on"
BY_PLACE = f"{CHECKED} as far as their places tell: {TABLE} of this run has no digests"
UNCHECKED = f"; whether it was trained on them was not checked: that takes files and a {TABLE}"


class Placed(NamedTuple):
    """One file of a set; data.name=csv takes these columns."""

    path: str
    label: str
    split: str
    place: str
    """Where in the set it lies, wherever the set may be moved."""
    digest: str
    """Of its content, in hexadecimal; empty if nobody read it, and in earlier versions."""


class Part(NamedTuple):
    """The images of other data that had a part in a run."""

    places: list[int]
    words: str
    """What is to be said after the number of the others."""


class HeldOut(NamedTuple):
    """The images of a split that judge a run."""

    source: Any
    words: str
    """What is to be said after their number: whether they had a part in the run."""


def division(data: Data) -> Iterator[Placed]:
    """List the files of every split; nothing where images are no files."""
    for name in SPLITS:
        split: Any = getattr(data, name)
        if hasattr(split, "file"):
            files = list(filter(None, map(split.file, range(len(split)))))
            digests = split.digests() if files and split.checked else [""] * len(files)
            for file, digest in zip(files, digests, strict=True):
                path = os.path.abspath(file.path) + str(file).removeprefix(file.path)
                yield Placed(path, file.label, name, file.place, digest)


def keep_division(folder: Path, data: Data, *, fresh: bool) -> None:
    """Write split.csv to the folder of a `fresh` run, or hold the files of a later call against it.

    Raises ValueError if files were added, removed or divided otherwise since the run began.
    """
    rows = list(division(data))
    path = folder / TABLE
    if path.exists() and not fresh:
        then, now = ({row.place: row.split for row in x} for x in (_rows(path), rows))
        if differing := [place for place in now | then if now.get(place) != then.get(place)]:
            raise ValueError(
                f"{path} says how this run divides its images, but {len(differing)} of them are "
                f"gone, new or in another split, such as {differing[0]}; put the files back, or "
                f"choose another run folder"
            )
    elif rows:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Placed._fields)
            writer.writerows(rows)


def hold_out(folder: Path, source: Any, split: SplitName) -> HeldOut:
    """Hold the images of a split that judges the run of a folder against those that made it.

    These trained it or, for the test, chose its weights. They are told by content, wherever they
    lie, and by their place in the set. Twins of them in the run's own split are left out. Raises
    ValueError if others are among the images, or none is left.
    """
    path = folder / TABLE
    files: list[Any] = [None]
    if hasattr(source, "file"):
        files = [source.file(index) for index in range(len(source))]
    if not path.exists() or None in files:
        return HeldOut(source, UNCHECKED)
    rows = _rows(path)
    made = [row for row in rows if row.split == "train" or (split, row.split) == ("test", "valid")]
    places, digests = ({getattr(row, key) for row in made} - {""} for key in ("place", "digest"))
    own = {(row.place, row.digest) for row in rows if row.split == split}
    new, strange = [], []
    found = source.digests() if digests else [""] * len(files)
    for index, (file, digest) in enumerate(zip(files, found, strict=True)):
        if file.place not in places and digest not in digests:
            new.append(index)
        elif (file.place, digest) not in own:
            strange.append(file)
    if strange or not new:
        chose = " or chose its weights" if split == "test" else ""
        raise ValueError(
            f"{len(files) - len(new)} of these {len(files)} images trained the network{chose}, "
            f"such as {(strange or files)[0]}; judge by others, or, if plain files were "
            f"added or removed since, take the split of the run by data.name=csv data.file={path}"
        )
    words = CHECKED if digests else BY_PLACE if places else UNCHECKED
    if len(new) == len(files):
        return HeldOut(source, words)
    twins = f" ({len(files) - len(new):,} more are left out, for their twins had a part in it)"
    return HeldOut(source.only(new), words + twins)


def part_of(folder: Path, source: Any) -> Part:
    """Find the images of other data that trained the run of a folder, or chose its weights.

    They are told by content alone, for places mean something within one set only.
    """
    path = folder / TABLE
    rows = _rows(path) if path.exists() else []
    made = {row.digest for row in rows if row.split in ("train", "valid")} - {""}
    if not made or not len(source) or not hasattr(source, "file") or source.file(0) is None:
        return Part([], UNCHECKED)
    places = [place for place, digest in enumerate(source.digests()) if digest in made]
    return Part(places, CHECKED)


def _rows(path: Path) -> list[Placed]:
    with path.open(newline="") as file:
        return [Placed(**{"digest": "", **row}) for row in csv.DictReader(file)]
