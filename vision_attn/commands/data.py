"""What a recipe's data are: images by split and class, and which of them are in two splits."""

import csv
from collections import Counter
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vision_attn.data.batch import Data, Problem
from vision_attn.data.duplicates import Twins, twins
from vision_attn.data.images import Photographs
from vision_attn.data.prints import prints
from vision_attn.data.splits import SPLITS
from vision_attn.engine.atomic import whole
from vision_attn.recipe import read
from vision_attn.report.markdown import table

CLASS_ROWS, PAIRS, SIDE = 60, 12, 96
"""Most classes that are listed one by one, most pairs that are drawn, pixels of each image."""


class Twin(NamedTuple):
    """An image of one split that is in another."""

    kind: str
    first_split: str
    first: str
    first_label: str
    second_split: str
    second: str
    second_label: str


class Inspection(NamedTuple):
    """Tell what was found."""

    text: str
    twins: list[Twin]
    problems: list[Problem]


def inspect(path: Path, *overrides: str, out: Path | None = None) -> Inspection:
    """Count the images of a recipe's data, and find those that are in two splits.

    Where `out` is given, duplicates.csv and duplicates.png, the first pairs one over the other, go
    there. Raises ValueError for a recipe that is wrong, and data that cannot be opened.
    """
    config: Any = read(path, "init=null", *overrides).data
    data = (replace(config, check="always") if hasattr(config, "check") else config).build()
    splits = {name: getattr(data, name) for name in SPLITS if getattr(data, name) is not None}
    text = [table(_counts(data, splits))]
    if not all(isinstance(split, Photographs) for split in splits.values()):
        text.append("Duplicates are not searched in what is drawn.")
        return Inspection("\n\n".join(text), [], data.problems)
    found = _twins(splits)
    listed = [_told(twin, names, splits) for names, twin in found]
    text.append(table(_table(listed, splits)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "duplicates.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Twin._fields)
            writer.writerows(listed)
        _draw(found, splits, out / "duplicates.png")
    return Inspection("\n\n".join(text), listed, data.problems)


def _counts(data: Data, splits: dict[str, Any]) -> list[list[str]]:
    """Count images by split and, where labels are few and known, by class."""
    rows = [["", *(SPLITS[name] for name in splits)]]
    rows.append(["images", *(f"{len(split):,}" for split in splits.values())])
    labels = [getattr(split, "labels", None) for split in splits.values()]
    few = len(data.spec.names) <= CLASS_ROWS
    if few and all(one is not None and one.ndim == 1 for one in labels):
        counts = [Counter(one.tolist()) for one in labels if one is not None]
        for number, name in enumerate(data.spec.names):
            rows.append([name, *(f"{count[number]:,}" for count in counts)])
    return rows


def _twins(splits: dict[str, Photographs]) -> list[tuple[tuple[str, str], Twins]]:
    known = {name: prints(split, SPLITS[name]) for name, split in splits.items()}
    return [
        ((first, second), twin)
        for first, second in combinations(splits, 2)
        for twin in twins(known[first], known[second])
    ]


def _told(twin: Twins, names: tuple[str, str], splits: dict[str, Photographs]) -> Twin:
    words: list[str] = []
    for name, place in zip(names, (twin.first, twin.second), strict=True):
        split: Any = splits[name]
        file = split.file(place)
        label = getattr(split, "labels", None)
        words += [
            SPLITS[name],
            f"{name}-{place:05d}" if file is None else str(file),
            split.spec.names[int(label[place])] if label is not None and label.ndim == 1 else "",
        ]
    return Twin(twin.kind, *words)


def _table(found: list[Twin], splits: dict[str, Any]) -> list[list[str]]:
    """Count the images of each split that another one has, and those with another label there."""
    rows = [["in two splits", "same file", "looks alike", "of another label", "for example"]]
    for first, second in combinations(splits, 2):
        own = [
            x for x in found if (x.first_split, x.second_split) == (SPLITS[first], SPLITS[second])
        ]
        counts = [
            len({x.second for x in own if x.kind == kind}) for kind in ("same file", "looks alike")
        ]
        other = len({x.second for x in own if x.first_label != x.second_label})
        example = f"`{own[0].second}` is `{own[0].first}`" if own else ""
        what = f"{SPLITS[second]} images that are {SPLITS[first]} images"
        rows.append([what, *(f"{count:,}" for count in (*counts, other)), example])
    return rows


def _draw(
    found: list[tuple[tuple[str, str], Twins]], splits: dict[str, Photographs], path: Path
) -> None:
    """Draw pairs, the image of the first split above that of the second; nothing if none is."""
    columns = [
        np.concatenate(
            [splits[first].images([twin.first])[0], splits[second].images([twin.second])[0]]
        )
        for (first, second), twin in islice(found, PAIRS)
    ]
    if columns:
        sheet = np.concatenate(columns, 1)
        factor = -(-SIDE // splits["train"].spec.image_size[0])
        with whole(path) as file:
            large = sheet.repeat(factor, 0).repeat(factor, 1).squeeze()
            Image.fromarray(large).save(file, "png")
