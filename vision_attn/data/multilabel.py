"""Sets of images with any number of labels each."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from vision_attn.data.batch import Data
from vision_attn.data.duplicates import shared_files
from vision_attn.data.files import File
from vision_attn.data.images import TaggedSplit, open_files, parted, specify
from vision_attn.data.multilabel_config import MultilabelCsvConfig
from vision_attn.data.tables import Row, rows, split_of

BESIDE = ("path", "split", "place")
"""Columns of a table that are no classes."""
Tags = Bool[np.ndarray, "image output"]


class TagListing(NamedTuple):
    """List the files of a set and what applies to each."""

    files: list[File]
    names: tuple[str, ...]
    tags: Tags


def list_tagged(file: str, separator: str) -> TagListing:
    """List the files of a table with the columns path and labels, or path and a column a class.

    Raises ValueError for a table without classes, and listing all rows that are wrong.
    """
    found = rows(file, _wrong, {"path"})
    separated = "labels" in found[0]
    classes = _classes(found[0])
    applying = [
        {x.strip() for x in row["labels"].split(separator) if x.strip()}
        if separated
        else {name for name in classes if row[name] == "1"}
        for row in found
    ]
    names = tuple(sorted(set().union(*applying))) if separated else tuple(classes)
    if len(names) < 2:
        raise ValueError(f"{file} must name two or more labels, got {', '.join(names) or 'none'}")
    folder = Path(file).parent
    files = [
        File(
            str(folder / row["path"]),
            separator.join(sorted(own)),
            split_of(row),
            place=row.get("place") or row["path"],
        )
        for row, own in zip(found, applying, strict=True)
    ]
    return TagListing(files, names, np.array([[name in own for name in names] for own in applying]))


def _classes(row: Row) -> list[str]:
    """Name the columns that are classes: all that have no other meaning, unless one lists them."""
    return [] if "labels" in row else [name for name in row if name not in BESIDE]


def _wrong(row: Row) -> str:
    odd = [name for name in _classes(row) if row[name] not in ("0", "1")]
    return "; ".join(f"{name} must be 0 or 1, got {row[name]!r}" for name in odd)


def rarest(tags: Tags) -> Int64[np.ndarray, " image"]:
    """Give the rarest label of each image, one more number for images without any.

    Splits that hold to its shares hold nearly to those of all labels.
    """
    counts = np.where(tags, tags.sum(0), len(tags) + 1)
    return np.where(tags.any(1), counts.argmin(1), tags.shape[1])


def build(config: MultilabelCsvConfig) -> Data:
    """Open a set of image files with several labels, and divide those that are usable.

    Raises ValueError if more than `bad_share` of them are not, and for a label without a training
    image.
    """
    files, names, tags = list_tagged(config.file, config.separator)
    spec = replace(specify(config, names), several=True)
    opened = open_files(config, files, spec)
    parts = parted(config, rarest(tags), files, opened.usable)
    if not tags[parts["train"]].any(0).all():
        missing = [
            name for name, any_ in zip(names, tags[parts["train"]].any(0), strict=True) if not any_
        ]
        raise ValueError(f"every label needs a training image, got none of {', '.join(missing)}")
    labels = tags.astype(np.float32)
    test = TaggedSplit(opened.rest, labels, parts["test"], spec) if len(parts["test"]) else None
    augmented = config.augment, config.split_seed
    return Data(
        spec,
        TaggedSplit(opened.train, labels, parts["train"], spec, *augmented),
        TaggedSplit(opened.rest, labels, parts["valid"], spec),
        test,
        opened.problems,
        shared_files(files, opened.digests, parts),
    )
