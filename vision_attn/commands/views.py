"""One list of held-out images for several runs, each prepared as that run was trained to see it."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vision_attn.commands.held_out import open_data, settled, take
from vision_attn.data.batch import Data
from vision_attn.data.config import AugmentConfig
from vision_attn.data.images import Photographs
from vision_attn.data.loader import share
from vision_attn.data.splits import SplitName
from vision_attn.engine.run import Run
from vision_attn.recorded import recipe_of
from vision_attn.report.measure import Evidence


class Views(NamedTuple):
    """The images of a split as each run sees them."""

    split: SplitName
    evidence: list[Evidence]


def views(folders: Sequence[Path], split: SplitName | None, count: int) -> Views:
    """Show each run a split of its data; the first `count` images are those to be explained.

    None is the test split or, where there is none, that of validation. Runs whose data have the
    same settings, but for those of training, share what is opened. Raises ValueError as `take`, and
    where two runs would be judged by different images.
    """
    keys = [(_judging(recipe_of(folder).data), Run.open(folder).spec) for folder in folders]
    opened: dict[Any, Data] = {}
    for folder, key in zip(folders, keys, strict=True):
        if key not in opened:
            opened[key] = open_data(recipe_of(folder), key[1])
    split = settled(split, opened.values())
    sources = {key: take(data, split, *folders).source for key, data in opened.items()}
    (first, source), *others = sources.items()
    for key, other in others:
        names = [str(folders[keys.index(pair)]) for pair in (first, key)]
        sources[key] = _aligned(source, other, split, names)
    found = {key: _evidence(own, count) for key, own in sources.items()}
    return Views(split, [found[key] for key in keys])


def _judging(settings: Any) -> Any:
    """Give the settings of a data set without those that only training heeds."""
    idle = {"augment": AugmentConfig(), "workers": 0, "train_share": 1.0, "share_seed": 0}
    known = [field.name for field in fields(settings) if field.name in idle]
    return replace(settings, **{name: idle[name] for name in known})


def _aligned(source: Any, other: Any, split: SplitName, names: Sequence[str]) -> Any:
    """Give the images of `other` in the order of `source`; ValueError if these are others."""
    wanted, found = _images(source), _images(other)
    if wanted == found:
        return other
    if sorted(wanted) == sorted(found) and isinstance(other, Photographs):
        places = {image: place for place, image in enumerate(found)}
        return other.only([places[image] for image in wanted])
    common = len(set(wanted) & set(found))
    raise ValueError(
        f"runs must be judged by the same images, got {len(wanted):,} {split} images of {names[0]} "
        f"and {len(found):,} of {names[1]}, {common:,} of them the same; `vision-attn evaluate` "
        f"judges each by its own"
    )


def _images(source: Any) -> list[tuple[str, float]]:
    """Tell images by what they are before they are prepared, and by their labels if listed."""
    labels = getattr(source, "labels", torch.zeros(len(source)))
    return list(zip(source.digests(), labels.tolist(), strict=True))


def _evidence(source: Any, count: int) -> Evidence:
    indices = list(range(min(count, len(source))))
    images, labels = source.__getitems__([(0, index) for index in indices])
    masks = source.masks(indices) if hasattr(source, "masks") else None
    return Evidence(share(source, 256), images, labels, masks)
