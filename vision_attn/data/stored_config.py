"""The settings of sets kept for large trainings; read before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.data.config import FilesConfig

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class ShardsConfig(FilesConfig):
    """Shards in the layout of webdataset: uncompressed tars of NAME.jpg and NAME.cls."""

    name: Literal["webdataset"] = "webdataset"
    train: str
    """Pattern of local files, such as shards/train-{000..146}.tar or shards/train-*.tar; they are
    listed once and read in place, in any order, without the webdataset package."""
    valid: str | None = None
    """Likewise; None to hold out `valid_share` of the training samples."""
    test: str | None = None
    """Likewise; None for `test_share` of the training samples."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.images import build
        from vision_attn.data.shards import list_shards

        return build(self, list_shards(self.train, self.valid, self.test))


@dataclass(frozen=True, kw_only=True)
class DatasetsConfig(FilesConfig):
    """A folder that save_to_disk of Hugging Face's datasets wrote (Arrow); an extra reads it."""

    name: Literal["datasets"] = "datasets"
    root: str
    """The folder: one table, or one for each of train, validation and test."""
    image: str = "image"
    """Column of the images."""
    label: str = "label"
    """Column of the classes: named ones, numbers or words."""

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.arrow import list_arrow
        from vision_attn.data.images import build

        return build(self, list_arrow(self.root, self.image, self.label))
