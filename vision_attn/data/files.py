"""Where the files of a set lie: folders, tars and tables, listed once and read one by one."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int64

from vision_attn.data.batch import Problem
from vision_attn.data.splits import FOLDERS, SplitName
from vision_attn.data.tables import rows, split_of


class Stored(Protocol):
    """An encoded image, wherever it is kept."""

    @property
    def path(self) -> str:
        """Name the file or folder that keeps it."""

    @property
    def label(self) -> str:
        """Name its class."""

    @property
    def split(self) -> SplitName:
        """Name its split."""

    @property
    def place(self) -> str:
        """Say where in the set it lies, wherever the set may be moved."""

    def read(self) -> bytes:
        """Give the bytes; raises OSError."""


class File(NamedTuple):
    """Point to one file, alone or in a tar, and say what it belongs to."""

    path: str
    label: str
    split: SplitName = "train"
    member: str = ""
    """Its name in the tar."""
    offset: int = 0
    """Where in the tar it begins, in bytes."""
    size: int = -1
    """Bytes; -1 for all there are."""
    place: str = ""
    """Where in the set it lies, wherever the set may be moved."""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else self.path

    def read(self) -> bytes:
        """Give the bytes; raises OSError."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Listing(NamedTuple):
    """List the files of a set."""

    files: Sequence[Stored]
    names: tuple[str, ...]
    """Of the classes, in alphabetical order."""
    strays: list[Problem]
    """Files that belong to no class."""

    @property
    def labels(self) -> Int64[np.ndarray, " sample"]:
        """Give the index of each file's class."""
        numbers = {name: number for number, name in enumerate(self.names)}
        return np.array([numbers[file.label] for file in self.files], dtype=np.int64)


def list_folder(root: str) -> Listing:
    """List root/class/... or root/split/class/..., without hidden files and folders."""
    if not Path(root).is_dir():
        raise ValueError(f"root must be a folder of class folders, got {root}: no such folder")
    places = [(PurePosixPath(path.relative_to(root).as_posix()), path) for path in _walk(root)]
    return _listing(root, [(place, File(str(path), "")) for place, path in places])


def list_tar(file: str) -> Listing:
    """List the members of an uncompressed tar of class folders, with where they lie in it."""
    try:
        with tarfile.open(file, "r:") as tar:
            members = sorted((m for m in tar if not m.isdir()), key=lambda member: member.name)
    except (OSError, tarfile.ReadError) as error:
        raise ValueError(f"file must be an uncompressed tar, got {file}: {error}") from None
    places = [(PurePosixPath(member.name), member) for member in members]
    found = [
        (place, File(file, "", "train", m.name, m.offset_data, m.size))
        for place, m in places
        if m.isreg() and not any(part.startswith(".") for part in place.parts)
    ]
    links = [Problem(f"{file}:{m.name}", "a link, not a file") for m in members if not m.isreg()]
    return _listing(file, found, links)


def list_csv(file: str) -> Listing:
    """List the files of a table as `read_csv` does; ValueError for fewer than two classes, too."""
    return _checked(file, read_csv(file), [])


def read_csv(file: str) -> list[File]:
    """Read a table with the columns path, label and perhaps split.

    Raises ValueError listing all rows that are wrong.
    """
    found = rows(file, lambda row: "" if row.get("label") else "label is empty", {"path", "label"})
    folder = Path(file).parent
    return [
        File(
            str(folder / row["path"]),
            row["label"],
            split_of(row),
            place=row.get("place") or row["path"],
        )
        for row in found
    ]


def _walk(root: str) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(folder, name)


def _listing(
    source: str, found: list[tuple[PurePosixPath, File]], strays: list[Problem] | None = None
) -> Listing:
    """Tell split and class of files from their places."""
    depth = _depth(PurePosixPath(source), [place for place, _ in found])
    files, strays = [], list(strays or [])
    for place, file in found:
        folders = place.parts[:-1]
        if len(folders) > depth:
            split = FOLDERS.get(folders[depth - 1], "train") if depth else "train"
            files.append(file._replace(label=folders[depth], split=split, place=str(place)))
        else:
            strays.append(Problem(str(file), "not in the folder of a class"))
    return _checked(source, files, strays)


def _depth(root: PurePosixPath, places: list[PurePosixPath]) -> int:
    """Count the folders above those of the classes: common ones, and one for each split.

    Raises ValueError if something else lies beside splits; a class may well be called train.
    """
    places = [place for place in places if len(place.parts) > 1]
    tops = {place.parts[0] for place in places}
    if tops and tops <= FOLDERS.keys():
        return 1
    splits = {x.parts[0] for x in places if x.parts[0] in FOLDERS and len(x.parts) > 2}
    if beside := splits and sorted(tops - FOLDERS.keys()):
        raise ValueError(
            f"folders of splits must have no others beside them, got {root / beside[0]} beside "
            f"{', '.join(sorted(splits))}; move it to another place"
        )
    inside = [PurePosixPath(*place.parts[1:]) for place in places]
    if len(tops) == 1 and any(len(place.parts) > 1 for place in inside):
        return 1 + _depth(root / next(iter(tops)), inside)
    return 0


def _checked(source: str, files: list[File], strays: list[Problem]) -> Listing:
    names = tuple(sorted({file.label for file in files}))
    if len(names) < 2:
        raise ValueError(
            f"{source} must hold images of two or more classes, got {len(files)} files of "
            f"{len(names)} classes; expected CLASS/IMAGE or SPLIT/CLASS/IMAGE"
        )
    return Listing(files, names, strays)
