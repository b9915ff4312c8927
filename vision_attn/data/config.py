"""The settings of every data set; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """Random changes of training images; everything is off by default."""

    flip: bool = False
    """Mirror left-right half of the time."""
    shift: int = 0
    """Pad by so many pixels (reflected) and crop back at a random place."""
    crop_scale: float | None = None
    """Smallest area share of a random resized crop, (0, 1]; None for no such crop."""
    randaugment: int = 0
    """Magnitude of RandAugment (2 operations an image), 0-10; 0 turns it off."""
    erase: float = 0.0
    """Probability of erasing a random rectangle, [0, 1]."""

    def _broken(self) -> Iterator[str]:
        if self.shift < 0:
            yield f"shift must be 0 or more pixels, got {self.shift}"
        if self.crop_scale is not None and not 0 < self.crop_scale <= 1:
            yield f"crop_scale must be in (0, 1], got {self.crop_scale}"
        if not 0 <= self.randaugment <= 10:
            yield f"randaugment must be in [0, 10], got {self.randaugment}"
        if not 0 <= self.erase <= 1:
            yield f"erase must be in [0, 1], got {self.erase}"


@dataclass(frozen=True, kw_only=True)
class DrawnConfig(Config):
    """What sets of drawn scenes have in common."""

    image_size: int = 64
    """Pixels a side."""
    train: int = 60_000
    """Training scenes; drawn once and kept, or drawn afresh each epoch (see `fresh`)."""
    valid: int = 2_000
    """Validation scenes, which choose the best weights."""
    test: int = 2_000
    """Test scenes, which nothing but `evaluate` and `compare` reads."""
    fresh: bool = False
    """Draw new scenes in every epoch instead of repeating the first."""
    seed: int = 0
    """Of the scenes, not of the run: the same seed gives the same pictures anywhere, whether they
    come with labels or with captions."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""

    def _broken(self) -> Iterator[str]:
        if self.image_size < 24:
            yield f"image_size must be 24 or more to tell shapes, got {self.image_size}"
        for name in ("train", "valid", "test"):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more scenes, got {getattr(self, name)}"
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                yield f"{name} must be 0 or more, got {getattr(self, name)}"


@dataclass(frozen=True, kw_only=True)
class ScenesConfig(DrawnConfig):
    """Drawn scenes: label, boxes, masks and captions known for every image; no download."""

    name: Literal["scenes"] = "scenes"
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def build(self) -> Data:
        """Open the data set: specification and the three splits."""
        from vision_attn.data.scenes import build

        return build(self)


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(Config):
    """What all sets of labelled images have in common."""

    image_size: int = 224
    """Pixels a side; images are resized to cover it and cropped to their centre."""
    channels: Literal[1, 3] = 3
    """3 for RGB, 1 for grey; images of the other kind are converted."""
    mean: tuple[float, ...] | None = None
    """Subtracted from pixels in [0, 1], one number a channel; None for that of `init`, else
    the usual one of the set."""
    std: tuple[float, ...] | None = None
    """Divides what is left, one number a channel; None for that of `init`, else
    the usual one of the set."""
    valid_share: float | None = None
    """Share of each class's training images held out for validation, (0, 1); None is 0.1, or none
    where the set has a validation split of its own."""
    split_seed: int = 0
    """Of splits and augmentation, not of the run: the same seed holds out the same images."""
    train_share: float = 1.0
    """Share of each class's training images that train, (0, 1], at least one image; a smaller share
    lies inside a larger one."""
    share_seed: int = 0
    """Chooses the images of `train_share`; other splits do not depend on it."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def _broken(self) -> Iterator[str]:
        if self.image_size < 1:
            yield f"image_size must be a positive number of pixels, got {self.image_size}"
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if numbers is not None and len(numbers) != self.channels:
                yield (
                    f"{name} needs one number a channel, got {numbers} for channels={self.channels}"
                )
        if self.valid_share is not None and not 0 < self.valid_share < 1:
            yield f"valid_share must be in (0, 1), got {self.valid_share}"
        if not 0 < self.train_share <= 1:
            yield f"train_share must be in (0, 1], got {self.train_share}"
        if self.share_seed < 0:
            yield f"share_seed must be 0 or more, got {self.share_seed}"
        if self.share_seed and self.train_share == 1:
            yield (
                f"share_seed chooses among images only where train_share is below 1, got "
                f"share_seed={self.share_seed}; leave it out"
            )
        if not 0 <= self.augment.shift < self.image_size:
            yield (
                f"augment.shift must be smaller than the image, got {self.augment.shift} for "
                f"image_size={self.image_size}"
            )
        if self.workers < 0:
            yield f"workers must be 0 or more, got {self.workers}"


@dataclass(frozen=True, kw_only=True)
class FilesConfig(ImagesConfig):
    """What sets of image files have in common."""

    crop: float | None = None
    """Share of the shorter side that the central crop keeps, (0, 1]; for ImageNet often 0.875; None
    for that of `init`, else 1."""
    interpolation: Literal["bilinear", "bicubic", "nearest"] | None = None
    """How images are resized; None for the way of `init`, else bilinear."""
    test_share: float = 0.0
    """Share of each class held out for the test, [0, 1), where the set has no test split; with 0 it
    has none."""
    memory: Literal["auto", "always", "never"] = "auto"
    """Keep images as pixels at `image_size` instead of reading files again in every epoch; auto
    does up to 2 GiB, unless `augment.crop_scale` has more to choose from in larger files."""
    check: Literal["auto", "always", "never"] = "auto"
    """Decode every file before the first step, in every process: to leave out what is unusable, and
    to tell files that are in two splits. auto does so in sets of up to 2 GiB of pixels; in others a
    file is read when its turn comes, and a bad one ends the training."""
    bad_share: float = 0.01
    """Largest share of checked files that may be unusable, [0, 1]; these are left out and listed.
    """

    def _broken(self) -> Iterator[str]:
        yield from super()._broken()
        if self.crop is not None and not 0 < self.crop <= 1:
            yield f"crop must be in (0, 1], got {self.crop}"
        if not 0 <= self.test_share < 1:
            yield f"test_share must be in [0, 1), got {self.test_share}"
        if (self.memory, self.check) == ("always", "never"):
            yield "memory=always decodes every file to begin with; leave check=never out"
        if not 0 <= self.bad_share <= 1:
            yield f"bad_share must be in [0, 1], got {self.bad_share}"


@dataclass(frozen=True, kw_only=True)
class FolderConfig(FilesConfig):
    """A folder of class folders, or of train, val and test with class folders in each."""

    name: Literal["folder"] = "folder"
    root: str
    """The folder; classes are named by the folders in it, in alphabetical order."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.files import list_folder
        from vision_attn.data.images import build

        return build(self, list_folder(self.root))


@dataclass(frozen=True, kw_only=True)
class TarConfig(FilesConfig):
    """An uncompressed tar of class folders, read in place."""

    name: Literal["tar"] = "tar"
    file: str
    """The tar; laid out inside like a folder of class folders."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.files import list_tar
        from vision_attn.data.images import build

        return build(self, list_tar(self.file))


@dataclass(frozen=True, kw_only=True)
class CsvConfig(FilesConfig):
    """Image files listed in a table with the columns path, label and, if wanted, split."""

    name: Literal["csv"] = "csv"
    file: str
    """The table, with a header line; paths are relative to its folder, splits train, val, test."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.files import list_csv
        from vision_attn.data.images import build

        return build(self, list_csv(self.file))
