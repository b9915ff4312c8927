"""The index of an export: a line a map, written after its files, so that it says what is there."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

INDEX = "index.jsonl"


class Kind(NamedTuple):
    """Say how a map of an image is made."""

    model_hash: str
    method: str
    settings: str


def kind(model_hash: str, method: str, settings: Mapping[str, Any]) -> Kind:
    """Name a way to make maps, as lines of the index do."""
    return Kind(model_hash, method, _plain(settings))


def finished(folder: Path | str, kinds: Iterable[Kind]) -> set[str]:
    """Find the hashes of images of which a folder holds maps of all these kinds."""
    bits = {one: 1 << place for place, one in enumerate(set(kinds))}
    found: dict[str, int] = {}
    for line in held(folder):
        bit = bits.get(kind(line["model_hash"], line["method"], line["settings"]), 0)
        found[line["image_hash"]] = found.get(line["image_hash"], 0) | bit
    return {image for image, seen in found.items() if seen == sum(bits.values())}


def index(folder: Path | str) -> Iterator[dict[str, Any]]:
    """Read the lines of a folder's index.jsonl, if there is one; one cut short does not count."""
    for _, line in _lines(Path(folder)):
        yield line


def held(folder: Path | str) -> Iterator[dict[str, Any]]:
    """Read the latest line of every map whose files, the image's among them, still are there.

    No more than the name of each map is kept in memory.
    """
    root = Path(folder)
    latest = {line["file"]: start for start, line in _lines(root)}
    if not latest:
        return
    with (root / INDEX).open("rb") as file:
        for start in latest.values():
            file.seek(start)
            line = json.loads(file.readline())
            if all((root / name).exists() for name in (line["file"], f"{line['image']}.npz")):
                yield line


def _lines(root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each whole line and the byte where it starts."""
    if not (root / INDEX).exists():
        return
    with (root / INDEX).open("rb") as file:
        start = 0
        for line in file:
            if line.endswith(b"\n"):
                yield start, json.loads(line)
            start += len(line)


def _plain(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def append(folder: Path | str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Add lines to a folder's index, first taking away one that a kill cut short."""
    path = Path(folder) / INDEX
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def write_scores(folder: Path | str) -> Path:
    """Write scores.csv from the index of a folder: a row a map that is there, the latest of each.

    The last column has the settings that the scores depend on, as JSON.
    """
    names = dict.fromkeys(name for line in held(folder) for name in line["scores"])
    path = Path(folder) / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "model", "method", "target", *names, "settings"])
        writer.writeheader()
        for line in held(folder):
            about = {name: line[name] for name in ("image", "model", "method", "target")}
            writer.writerow(about | line["scores"] | {"settings": _plain(line["settings"])})
    return path
