"""The settings of every set of captioned images; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.data.config import DrawnConfig, FilesConfig

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class SceneCaptionsConfig(DrawnConfig):
    """Drawn scenes, each with five true sentences; boxes and masks of what they name are known."""

    name: Literal["scene_captions"] = "scene_captions"

    def build(self) -> Data:
        """Open the data set: specification and the three splits."""
        from vision_attn.data.scene_captions import build

        return build(self)


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig(FilesConfig):
    """What sets of captioned photographs have in common."""

    minimum: int = 5
    """Occurrences in the training captions that make a word part of the vocabulary."""
    longest: int = 50
    """Words of the longest caption to learn from; longer ones are listed, and are references only.
    """
    valid_share: float | None = None
    """Share of the training images held out for validation, (0, 1); None is 0.1, or none where the
    set has a validation split of its own."""
    test_share: float = 0.0
    """Share of the images held out for the test, [0, 1), where the set has no test split; with 0 it
    has none."""
    bad_share: float = 0.01
    """Largest share of images, and of captions, that may be unusable, [0, 1]; these are left out
    and listed."""

    def _broken(self) -> Iterator[str]:
        yield from super()._broken()
        for name in ("minimum", "longest"):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more, got {getattr(self, name)}"


@dataclass(frozen=True, kw_only=True)
class Flickr8kConfig(CaptionsConfig):
    """Flickr8k as it is distributed: 8,000 photographs with five captions each (Hodosh 2013)."""

    name: Literal["flickr8k"] = "flickr8k"
    root: str
    """Folder of Flickr8k.token.txt, Flickr_8k.trainImages.txt, devImages, testImages (optional) and
    of the images, or of a folder with them."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.caption_files import list_flickr8k
        from vision_attn.data.captions import build

        return build(self, list_flickr8k(self.root))


@dataclass(frozen=True, kw_only=True)
class KarpathyConfig(CaptionsConfig):
    """A dataset_*.json of the Karpathy splits: Flickr8k, Flickr30k or COCO (Karpathy 2015)."""

    name: Literal["karpathy"] = "karpathy"
    file: str
    """The JSON; images that it puts in `restval` train."""
    root: str
    """Folder of the images, or of the folders that the JSON names."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.caption_json import list_karpathy
        from vision_attn.data.captions import build

        return build(self, list_karpathy(self.file, self.root))


@dataclass(frozen=True, kw_only=True)
class CocoCaptionsConfig(CaptionsConfig):
    """Annotation files of COCO captions, such as captions_train2017.json (Chen 2015)."""

    name: Literal["coco_captions"] = "coco_captions"
    file: str
    """Annotations of the training images."""
    valid_file: str | None = None
    """Annotations of the validation images; null holds out `valid_share` of the training images."""
    test_file: str | None = None
    """Annotations of the test images; null for none."""
    root: str
    """Folder of the images, or of folders named like the annotations (train2017)."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.caption_json import list_coco
        from vision_attn.data.captions import build

        return build(self, list_coco(self.file, self.valid_file, self.test_file, self.root))


@dataclass(frozen=True, kw_only=True)
class CaptionCsvConfig(CaptionsConfig):
    """A table with the columns image, caption and, if wanted, split: a line for each caption."""

    name: Literal["caption_csv"] = "caption_csv"
    file: str
    """The table, with a header line; splits are train, val, test."""
    root: str | None = None
    """Folder that the images' paths start from; null for the folder of the table."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.caption_files import list_caption_csv
        from vision_attn.data.captions import build

        return build(self, list_caption_csv(self.file, self.root))
