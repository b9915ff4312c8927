"""How a run divided its files, kept beside it, so that no later call tests on what trained it."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.data.batch import Data

TABLE = "split.csv"


class Placed(NamedTuple):
    """One file of a set; data.name=csv takes these columns."""

    path: str
    label: str
    split: str
    place: str
    """Where in the set it lies, wherever the set may be moved."""


def division(data: Data) -> Iterator[Placed]:
    """List the files of every split; nothing where images are no files."""
    for name in ("train", "valid", "test"):
        split: Any = getattr(data, name)
        if hasattr(split, "file"):
            for file in filter(None, map(split.file, range(len(split)))):
                path = os.path.abspath(file.path) + str(file).removeprefix(file.path)
                yield Placed(path, file.label, name, file.place)


def keep_division(folder: Path, data: Data, *, fresh: bool) -> None:
    """Write split.csv to the folder of a `fresh` run, or hold the files of a later call against it.

    Raises ValueError if files were added, removed or divided otherwise since the run began.
    """
    rows = list(division(data))
    path = folder / TABLE
    if path.exists() and not fresh:
        then, now = _splits(path), {row.place: row.split for row in rows}
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


def check_held_out(folder: Path, source: Any) -> None:
    """Raise ValueError if images of a split trained the run of a folder."""
    path = folder / TABLE
    if not path.exists() or not hasattr(source, "file"):
        return
    trained = {place for place, split in _splits(path).items() if split == "train"}
    places = [file.place for file in filter(None, map(source.file, range(len(source))))]
    if seen := [place for place in places if place in trained]:
        raise ValueError(
            f"{len(seen)} of these {len(places)} images trained the network, such as {seen[0]}: "
            f"files were added or removed since; put them back, or, of plain files, take the split "
            f"of the run by data.name=csv data.file={path}"
        )


def _splits(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["place"]: row["split"] for row in csv.DictReader(file)}
