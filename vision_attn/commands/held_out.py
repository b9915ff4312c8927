"""The images that judge a trained run: prepared as in training, and none that had a part in it."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.data.batch import Data
from vision_attn.data.division import CHECKED, UNCHECKED, hold_out
from vision_attn.data.splits import SplitName
from vision_attn.recipe import Recipe
from vision_attn.spec import Spec


class Judges(NamedTuple):
    """The images of a split that judge runs."""

    split: SplitName
    source: Any
    words: str
    """What is to be said after their number: whether they had a part in the runs."""


def open_data(recipe: Recipe, spec: Spec, *, same_classes: bool = True) -> Data:
    """Open the data of a recipe; ValueError unless it is prepared as the weights need it."""
    data = recipe.data.build()
    found = data.spec if same_classes else replace(data.spec, names=spec.names)
    if found != spec:
        raise ValueError(
            f"data must be prepared as in training, got {data.spec}, and the weights need {spec}"
        )
    return data


def take(data: Data, split: SplitName | None, *folders: Path) -> Judges:
    """Take a split without images that had a part in the runs of some folders.

    None takes the test split or, where there is none, that of validation, and says so. Raises
    ValueError if there is no such split, or if it holds other images than the run held out.
    """
    name = settled(split, [data])
    source: Any = getattr(data, name)
    if source is None:
        raise ValueError(
            f"this data set has no {name} split; take --split valid, or give images that had no "
            f"part in training: a {name} folder beside train, or rows of a table whose split is "
            f"{name}; data.test_share holds images out only if set before training"
        )
    words = UNCHECKED
    for folder in folders:
        source, words = hold_out(folder, source, name)
        if words not in (CHECKED, UNCHECKED):
            _say(f"{folder}: {len(source):,} {name} images{words}")
    return Judges(name, source, words)


def settled(split: SplitName | None, opened: Iterable[Data]) -> SplitName:
    """Settle on a split: if none is given, test, or validation where a set has no test.

    The latter is said.
    """
    if split is not None:
        return split
    if all(data.test is not None for data in opened):
        return "test"
    _say("this data set has no test split: judged by its validation images")
    return "valid"


def _say(remark: str) -> None:
    print(remark, file=sys.stderr)
