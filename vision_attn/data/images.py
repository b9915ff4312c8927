"""Sets of labelled images: as pixels in memory, or read from their files again in every epoch."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8, UInt64
from torch import Tensor

from vision_attn.data.batch import Data, Key, Labelled, Problem, Tagged
from vision_attn.data.config import AugmentConfig, FilesConfig, ImagesConfig
from vision_attn.data.duplicates import shared_files
from vision_attn.data.files import Listing, Stored
from vision_attn.data.reading import NONE, Files, Pictures, Pixels, digest, few, read_all
from vision_attn.data.splits import Indices, SplitName, divide
from vision_attn.data.transforms import augment_batch, evaluate_batch, fit_batch
from vision_attn.spec import Spec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEMORY = 2 * 2**30
"""Bytes of pixels that `memory: auto` keeps at most."""
Answered = TypeVar("Answered", Labelled, Tagged)


class Photographs:
    """The images of one split; augmented if told how."""

    def __init__(
        self,
        pictures: Pictures,
        indices: Indices,
        spec: Spec,
        augment: AugmentConfig | None = None,
        seed: int = 0,
    ):
        self.pictures, self.indices, self.spec = pictures, indices, spec
        self.augment, self.seed = augment, seed

    def __len__(self) -> int:
        return len(self.indices)

    def prepared(self, keys: list[Key]) -> Float[Tensor, "batch channel row column"]:
        """Read images, augment them by epoch and index where this split trains, normalise them."""
        images = self.pictures(self.indices[[index for _, index in keys]].tolist())
        if self.augment is None:
            return evaluate_batch(images, self.spec)
        return augment_batch(images, keys, self.augment, self.seed, self.spec)

    def images(self, indices: list[int]) -> UInt8[Tensor, "batch row column channel"]:
        """Give images as they are stored, brought to size."""
        return fit_batch(self.pictures(self.indices[indices].tolist()), self.spec)

    def file(self, index: int) -> Stored | None:
        """Say which file an image comes from, if it is one."""
        files = self.pictures.files
        return files[self.indices[index]] if files else None

    @property
    def checked(self) -> bool:
        """Tell whether all files were read to begin with, so that their content is known."""
        return len(self.pictures.digests) > 0

    def digests(self) -> list[str]:
        """Fingerprint the file of every image, in hexadecimal; reads what was not checked."""
        known, files = self.pictures.digests, self.pictures.files
        digests = (
            known[self.indices].tolist()
            if self.checked
            else [digest(files[index].read()) for index in self.indices]
        )
        return [f"{one:016x}" for one in digests]

    def only(self, places: list[int]) -> Self:
        """Give a split of some of the images."""
        part = copy(self)
        part.indices = self.indices[places]
        return part


class Known(Photographs, Generic[Answered]):
    """One split of a set of images whose labels are known."""

    batch: type[Answered]

    def __init__(
        self,
        pictures: Pictures,
        labels: Shaped[np.ndarray, "image *output"],
        indices: Indices,
        spec: Spec,
        augment: AugmentConfig | None = None,
        seed: int = 0,
    ):
        super().__init__(pictures, indices, spec, augment, seed)
        self.labels = torch.from_numpy(labels[indices])

    def __getitems__(self, keys: list[Key]) -> Answered:
        """Give a batch of prepared images with their labels."""
        return self.batch(self.prepared(keys), self.labels[[index for _, index in keys]])

    def only(self, places: list[int]) -> Self:
        """Give a split of some of the images and their labels."""
        part = super().only(places)
        part.labels = self.labels[places]
        return part


class Split(Known[Labelled]):
    """One split of a set of images with one label each, a class by its index."""

    batch = Labelled


class TaggedSplit(Known[Tagged]):
    """One split of a set of images with several labels, 1 for each that applies, else 0."""

    batch = Tagged


class Opened(NamedTuple):
    """Files that are ready to be read, all of them decoded once if they were checked."""

    train: Pictures
    rest: Pictures
    """As for evaluation."""
    usable: Indices
    digests: UInt64[np.ndarray, " file"]
    """None if they were not checked."""
    problems: list[Problem]


def build(config: FilesConfig, listing: Listing) -> Data:
    """Open a set of labelled image files, and divide those that are usable.

    Raises ValueError if more than `bad_share` of them are not.
    """
    spec = specify(config, listing.names)
    opened = open_files(config, listing.files, spec)
    parts = parted(config, listing.labels, listing.files, opened.usable)
    problems = listing.strays + opened.problems
    data = assemble(config, spec, (opened.train, opened.rest), listing.labels, parts, problems)
    return replace(data, remarks=shared_files(listing.files, opened.digests, parts))


def parted(
    config: FilesConfig,
    labels: Int64[np.ndarray, " file"],
    files: Sequence[Stored],
    usable: Indices,
) -> dict[SplitName, Indices]:
    """Divide the usable files of a set as its settings say; raises as `divide`."""
    return divide(
        labels,
        [file.split for file in files],
        usable,
        seed=config.split_seed,
        valid_share=config.valid_share,
        test_share=config.test_share,
        train_share=config.train_share,
        share_seed=config.share_seed,
    )


def specify(config: FilesConfig, names: tuple[str, ...]) -> Spec:
    """Say how images of a set of files arrive, normalised as ImageNet's unless told otherwise."""
    return Spec(
        image_size=(config.image_size, config.image_size),
        names=names,
        channels=config.channels,
        mean=config.mean or usual(IMAGENET_MEAN, config.channels),
        std=config.std or usual(IMAGENET_STD, config.channels),
        crop=config.crop or 1.0,
        interpolation=config.interpolation or "bilinear",
    )


def open_files(config: FilesConfig, files: Sequence[Stored], spec: Spec) -> Opened:
    """Decode each file once, in parallel, and keep the pixels, as far as the settings say.

    Raises ValueError if more than `bad_share` of the files are unusable.
    """
    evaluated = Files(files, config.channels, math.ceil(config.image_size / spec.crop))
    trained = evaluated._replace(at_least=_needed(config, spec))
    if not _checked(config, len(files)):
        return Opened(trained, evaluated, np.arange(len(files)), NONE, [])
    stored = _stored(config, trained)
    values, digests, problems = read_all(evaluated, spec, stored)
    few(problems, len(files), config.bad_share)
    bad = {problem.path for problem in problems}
    usable = np.array([i for i, file in enumerate(files) if str(file) not in bad], np.int64)
    if stored:
        pixels = Pixels(values, files, digests)
        return Opened(pixels, pixels, usable, digests, problems)
    train, rest = (way._replace(digests=digests) for way in (trained, evaluated))
    return Opened(train, rest, usable, digests, problems)


def assemble(
    config: ImagesConfig,
    spec: Spec,
    pictures: tuple[Pictures, Pictures],
    labels: Int64[np.ndarray, " image"],
    parts: dict[SplitName, Indices],
    problems: list[Problem],
) -> Data:
    """Make the splits of a set from pictures to train and to evaluate with."""
    train, rest = pictures
    missing = set(range(len(spec.names))) - set(labels[parts["train"]].tolist())
    if missing:
        names = ", ".join(spec.names[label] for label in sorted(missing))
        raise ValueError(f"every class needs a training image, got none of {names}")
    augment, seed = config.augment, config.split_seed
    return Data(
        spec,
        Split(train, labels, parts["train"], spec, augment, seed),
        Split(rest, labels, parts["valid"], spec),
        Split(rest, labels, parts["test"], spec) if len(parts["test"]) else None,
        problems,
    )


def usual(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Bring one number a channel to another number of channels: repeat one, average three."""
    if len(numbers) == channels:
        return tuple(numbers)
    return (round(sum(numbers) / len(numbers), 4),) * channels


def _needed(config: FilesConfig, spec: Spec) -> int:
    """Count the pixels of a shorter side that let the smallest random crop still fill the image."""
    smallest = 1.0 if config.augment.crop_scale is None else config.augment.crop_scale * 3 / 4
    return math.ceil(config.image_size / (spec.crop * math.sqrt(smallest)))


def _checked(config: FilesConfig, count: int) -> bool:
    """Decide whether every file is decoded to begin with."""
    if config.check != "auto":
        return config.check == "always"
    return config.memory == "always" or _size(config, count) <= MEMORY


def _size(config: FilesConfig, count: int) -> int:
    """Count the bytes of so many images as pixels."""
    return count * config.image_size**2 * config.channels


def _stored(config: FilesConfig, files: Files) -> bool:
    """Decide whether pixels are kept in memory."""
    if config.memory != "auto":
        return config.memory == "always"
    if _size(config, len(files.files)) > MEMORY:
        return False
    return config.augment.crop_scale is None or not _larger(files, config.image_size)


def _larger(files: Files, image_size: int) -> bool:
    """Tell from a few files whether images are larger than the model wants them."""
    for index in np.linspace(0, len(files.files) - 1, 16).astype(int):
        try:
            height, width = files.image(int(index)).shape[:2]
        except ValueError:
            continue  # it is reported with the others
        if height > image_size or width > image_size:
            return True
    return False
