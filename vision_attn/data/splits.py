"""Which images train, which validate and which test."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Int64

from vision_attn.data.chance import uniforms

SplitName: TypeAlias = Literal["train", "valid", "test"]
SPLITS: dict[str, str] = {"train": "training", "valid": "validation", "test": "test"}
"""Every split, in order, and what it is called in sentences."""
Indices: TypeAlias = Int64[np.ndarray, " image"]
FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
}
"""What folders and tables call the splits."""
VALID_SHARE = 0.1


def divide(
    labels: Int64[np.ndarray, " sample"],
    given: Sequence[SplitName],
    indices: Indices,
    *,
    seed: int,
    valid_share: float | None = None,
    test_share: float = 0.0,
    train_share: float = 1.0,
    share_seed: int = 0,
) -> dict[SplitName, Indices]:
    """Divide the images at some indices into splits: as given, the missing ones taken from train.

    Of what is left to train, `train_share` is kept, chosen by `share_seed`. Raises ValueError if a
    share is asked for although that split is given.
    """
    names = np.asarray(given)[indices]
    parts = {name: indices[names == name] for name in get_args(SplitName)}
    for name, share in (("test", test_share), ("valid", valid_share)):
        if share and len(parts[name]):
            raise ValueError(
                f"{name}_share is for sets without a {name} split, got {name}_share={share} and "
                f"{len(parts[name])} images in that split; leave {name}_share out"
            )
    if test_share:
        parts["train"], parts["test"] = stratified(labels, parts["train"], test_share, seed, 0)
    if not len(parts["valid"]):
        share = VALID_SHARE if valid_share is None else valid_share
        parts["train"], parts["valid"] = stratified(labels, parts["train"], share, seed, 1)
    if not len(parts["train"]) or not len(parts["valid"]):
        counts = {name: len(part) for name, part in parts.items()}
        raise ValueError(f"training and validation need images, got {counts}; change the shares")
    if train_share < 1:
        parts["train"] = portion(labels, parts["train"], train_share, share_seed)
    return parts


def stratified(
    labels: Int64[np.ndarray, " sample"], indices: Indices, share: float, seed: int, draw: int = 0
) -> tuple[Indices, Indices]:
    """Split indices into those kept and those held out: the same share of each class, rounded.

    A class of two or more gives at least one image to either side. What is held out depends on
    (seed, draw) and on the indices alone.
    """
    held = _drawn(labels, indices, share, seed, draw, spare=1)
    return indices[~held], indices[held]


def portion(
    labels: Int64[np.ndarray, " sample"], indices: Indices, share: float, seed: int
) -> Indices:
    """Choose the same share of each class, rounded, at least one image.

    A smaller share lies inside a larger one of the same seed and indices.
    """
    return indices[_drawn(labels, indices, share, seed, draw=2, spare=0)]


def _drawn(
    labels: Int64[np.ndarray, " sample"],
    indices: Indices,
    share: float,
    seed: int,
    draw: int,
    spare: int,
) -> Bool[np.ndarray, " image"]:
    """Mark a share of each class, at least one image, and all but `spare` images at most."""
    chance = uniforms(seed, [(0, index) for index in indices.tolist()], draw + 1)[:, draw]
    drawn = np.zeros(len(indices), dtype=bool)
    for label in np.unique(labels[indices]):
        members = np.flatnonzero(labels[indices] == label)
        count = min(max(round(share * len(members)), 1), len(members) - spare)
        drawn[members[np.argsort(chance[members])[:count]]] = True
    return drawn
