"""Shards in the layout of webdataset: tars in which NAME.jpg and NAME.cls make a sample."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vision_attn.data.batch import Problem
from vision_attn.data.files import File, Listing
from vision_attn.data.places import matching
from vision_attn.data.splits import SplitName

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "ppm", "pgm"})
"""Endings of images; samples may hold more, which is left alone."""


def list_shards(train: str, valid: str | None = None, test: str | None = None) -> Listing:
    """List the samples of all shards, with where they lie in them; each is read in place.

    A sample's class is the text or number in its .cls file. Raises ValueError for patterns without
    shards, shards that are no uncompressed tars, and fewer than two classes.
    """
    files: list[File] = []
    strays: list[Problem] = []
    patterns: dict[SplitName, str | None] = {"train": train, "valid": valid, "test": test}
    for split, pattern in patterns.items():
        for shard in shards(pattern) if pattern else ():
            for found in _samples(shard, split):
                if isinstance(found, File):
                    files.append(found)
                else:
                    strays.append(found)
    names = sorted({file.label for file in files}, key=_order)
    if len(names) < 2:
        raise ValueError(
            f"shards must hold images of two or more classes, got {len(files)} samples of "
            f"{len(names)} classes; expected NAME.jpg beside NAME.cls"
        )
    return Listing(files, tuple(names), strays)


def shards(pattern: str) -> list[str]:
    """Expand {000..009} and wildcards to the files there are; ValueError if there are none."""
    found = matching(pattern)
    if not found:
        raise ValueError(f"a pattern must name shards, got {pattern}: no such file")
    return found


def _samples(shard: str, split: SplitName) -> Iterator[File | Problem]:
    parts: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in filter(tarfile.TarInfo.isreg, tar):
                place = PurePosixPath(member.name)
                name, _, ending = place.name.partition(".")
                parts.setdefault(str(place.with_name(name or ".")), {})[ending.lower()] = member
    except (OSError, tarfile.ReadError) as error:
        raise ValueError(f"a shard must be an uncompressed tar, got {shard}: {error}") from None
    for name, sample in parts.items():
        image = next((sample[ending] for ending in sample if ending in IMAGES), None)
        if image is None or "cls" not in sample:
            what = "image" if image is None else ".cls file"
            yield Problem(f"{shard}:{name}", f"a sample without {what}")
            continue
        told = sample["cls"]
        label = File(shard, "", split, told.name, told.offset_data, told.size).read()
        yield File(
            shard,
            label.decode().strip(),
            split,
            image.name,
            image.offset_data,
            image.size,
            f"{Path(shard).name}/{image.name}",
        )


def _order(name: str) -> tuple[int, int, str]:
    """Sort numbers by value, before words."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)
