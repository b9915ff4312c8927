"""Images from files, folders, patterns or the data of a recipe, one at a time."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from vision_attn.data.batch import Problem
from vision_attn.data.decode import decode
from vision_attn.data.files import Stored
from vision_attn.data.finding import find
from vision_attn.data.transforms import Image, evaluate_batch, fit_batch
from vision_attn.explaining.objects import Objects
from vision_attn.recipe import read
from vision_attn.report.digest import of_bytes
from vision_attn.spec import Spec

View: TypeAlias = Float[Tensor, "channel height width"]
"""An image as a network reads it."""


class Prepared(NamedTuple):
    """Hold an image as each network reads it, and where its object is, if that is known."""

    views: list[View]
    mask: Bool[Tensor, "height width"] | None


class Photograph(NamedTuple):
    """A file that was read, but not yet decoded."""

    name: str
    path: str
    content: bytes
    label: int | None
    objects: Objects | None

    @property
    def hash(self) -> str:
        """Fingerprint the file."""
        return of_bytes(self.content)

    def prepare(self, specs: Sequence[Spec]) -> Prepared:
        """Decode once and prepare for every network; raises ValueError with the reason why not."""
        pixels, mask = self._decoded(specs[0]), None
        if self.objects is not None:
            size = pixels.shape[0], pixels.shape[1]
            mask = self.objects.mask(Path(self.path).name, size, specs[0])
        return Prepared([evaluate_batch([pixels], spec)[0] for spec in specs], mask)

    def fitted(self, spec: Spec) -> UInt8[Tensor, "row column channel"]:
        """Decode and fit, but leave it to the network's device to normalise."""
        return fit_batch([self._decoded(spec)], spec)[0]

    def _decoded(self, spec: Spec) -> Image:
        needed = math.ceil(max(spec.image_size) / spec.crop)
        return decode(self.content, spec.channels, needed)


class Sample(NamedTuple):
    """An image of a data set, prepared by its specification."""

    name: str
    path: str
    image: View
    spec: Spec
    label: int | None
    mask: Bool[Tensor, "height width"] | None

    @property
    def hash(self) -> str:
        """Fingerprint the pixels."""
        return of_bytes(self.image.numpy().tobytes())

    def prepare(self, specs: Sequence[Spec]) -> Prepared:
        """Normalise as every network wants it."""
        return Prepared([self.fitted(spec) for spec in specs], self.mask)

    def fitted(self, spec: Spec) -> View:
        """Normalise as a network wants it."""
        if (spec.mean, spec.std) == (self.spec.mean, self.spec.std):
            return self.image
        mean, std, new_mean, new_std = (
            torch.tensor(x).view(-1, 1, 1)
            for x in (self.spec.mean, self.spec.std, spec.mean, spec.std)
        )
        return (self.image * std + mean - new_mean) / new_std


Item: TypeAlias = Photograph | Sample


class Files:
    """Image files; labelled if each lies in a folder that is named like a class."""

    def __init__(self, paths: Sequence[Path], names: Sequence[str], objects: Objects | None = None):
        self.objects, self.masks = objects, objects.hash if objects else ""
        numbers = {name: number for number, name in enumerate(names)}
        labels = [numbers.get(path.resolve().parent.name) for path in paths]
        self.labelled = None not in labels
        self.paths, self.labels = paths, labels if self.labelled else [None] * len(paths)

    @property
    def files(self) -> Sequence[Path]:
        """Name the file that keeps each image: itself."""
        return self.paths

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Item | Problem]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int) -> Item | Problem:
        """Read one file; threads may share this."""
        path, label = self.paths[place], self.labels[place]
        try:
            str(path).encode()
        except UnicodeEncodeError:  # Linux takes any bytes for a name, tables and pages do not
            return Problem(str(path), "its name is not UTF-8; rename it")
        try:
            return Photograph(path.stem, str(path), path.read_bytes(), label, self.objects)
        except OSError as error:
            return Problem(str(path), f"cannot be read: {error.strerror}")


class Split:
    """The test images of a recipe's data, or the validation images where it has no others."""

    def __init__(self, path: Path, spec: Spec):
        data = read(path, "init=null").data.build()
        if (data.spec.image_size, data.spec.channels) != (spec.image_size, spec.channels):
            raise ValueError(
                f"{path} must give images of image_size={spec.image_size} and "
                f"channels={spec.channels} for this network, got {data.spec.image_size} and "
                f"{data.spec.channels}; change them in its data section"
            )
        self.name = "valid" if data.test is None else "test"
        self.spec, self.problems = data.spec, data.problems
        self.source: Any = data.valid if data.test is None else data.test
        captions = hasattr(self.source, "references")
        one_label = not (captions or data.spec.several)
        self.labelled = data.spec.names == spec.names and one_label
        self.masks = "of the data" if hasattr(self.source, "masks") else ""

    def __len__(self) -> int:
        return len(self.problems) + len(self.source)

    def __iter__(self) -> Iterator[Item | Problem]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int) -> Item | Problem:
        """Prepare one image as the data do; what they could not use comes first."""
        if place < len(self.problems):
            return self.problems[place]
        index = place - len(self.problems)
        images, labels, *_ = self.source.__getitems__([(0, index)])
        mask = self.source.masks([index])[0] if self.masks else None
        label = int(labels[0]) if self.labelled else None
        name = f"{self.name}-{index:05d}"
        return Sample(name, self._path(index, name), images[0], self.spec, label, mask)

    @property
    def paths(self) -> list[str]:
        """Say where each image comes from."""
        names = (self._path(i, f"{self.name}-{i:05d}") for i in range(len(self.source)))
        return [*(problem.path for problem in self.problems), *names]

    @property
    def files(self) -> list[str]:
        """Name the file that keeps each image, alone or with others; "" where none does."""
        stored = map(self._stored, range(len(self.source)))
        paths = ("" if file is None else file.path for file in stored)
        return [*(problem.path for problem in self.problems), *paths]

    def _path(self, index: int, name: str) -> str:
        file = self._stored(index)
        return name if file is None else str(file)

    def _stored(self, index: int) -> Stored | None:
        return self.source.file(index) if hasattr(self.source, "file") else None


def open_source(
    words: Sequence[str], spec: Spec, out: Path | Sequence[Path], masks: Path | None = None
) -> Files | Split:
    """Find images by files, folders, patterns, or one RECIPE.yaml, whose data are taken.

    `masks` tells where the objects of files are. What is or lies in `out` is no source. Raises
    ValueError where there is nothing.
    """
    recipes = [word for word in words if Path(word).suffix in (".yaml", ".yml")]
    if recipes and (len(words) > 1 or masks):
        beside = [*words, *([f"--masks {masks}"] if masks else [])]
        raise ValueError(f"a recipe stands alone as the source, got {' '.join(beside)}")
    if recipes:
        return Split(Path(recipes[0]), spec)
    own = [path.resolve() for path in ([out] if isinstance(out, Path) else out)]
    return Files(find(words, own), spec.names, Objects(masks) if masks else None)
