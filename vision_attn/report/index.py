"""The index of an export: a line a map, written after its files, so that it says what is there."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

INDEX = "index.jsonl"


class Key(NamedTuple):
    """Say which map a line of the index is about."""

    image_hash: str
    model_hash: str
    method: str
    settings: str


def finished(folder: Path | str) -> set[Key]:
    """Find which maps a folder holds; lines cut short or written over by others do not count."""
    return {
        Key(line["image_hash"], line["model_hash"], line["method"], _plain(line["settings"]))
        for line in held(folder)
    }


def key(image_hash: str, model_hash: str, method: str, settings: Mapping[str, Any]) -> Key:
    """Name the map that a method would make of an image, as `finished` does."""
    return Key(image_hash, model_hash, method, _plain(settings))


def index(folder: Path | str) -> list[dict[str, Any]]:
    """Read the lines of a folder's index.jsonl, if there is one."""
    path = Path(folder) / INDEX
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def held(folder: Path | str) -> list[dict[str, Any]]:
    """Read the latest line of every map whose files, the image's among them, still are there."""
    root = Path(folder)
    latest = {line["file"]: line for line in index(root)}.values()
    return [x for x in latest if all((root / y).exists() for y in (x["file"], f"{x['image']}.npz"))]


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
    """Write scores.csv from the index of a folder: a row a map, the latest of each.

    The last column has the settings that the scores depend on, as JSON.
    """
    lines = {line["file"]: line for line in index(folder)}.values()
    names = dict.fromkeys(name for line in lines for name in line["scores"])
    path = Path(folder) / "scores.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "model", "method", "target", *names, "settings"])
        writer.writeheader()
        for line in lines:
            about = {name: line[name] for name in ("image", "model", "method", "target")}
            writer.writerow(about | line["scores"] | {"settings": _plain(line["settings"])})
    return path
