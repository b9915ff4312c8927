"""The settings of pictures on canvases; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vision_attn.data.config import FolderConfig, ScenesConfig
from vision_attn.data.public_config import FashionMnistConfig, MnistConfig
from vision_attn.rules import Config

if TYPE_CHECKING:
    from vision_attn.data.batch import Data

ON_BLACK = ("mnist", "fashion_mnist")
"""Sets of pictures on a black ground: what lies on them adds its light."""


@dataclass(frozen=True, kw_only=True)
class CanvasConfig(Config):
    """Small pictures somewhere on larger canvases, perhaps among clutter (Mnih 2014)."""

    name: Literal["canvas"] = "canvas"
    source: Literal["mnist", "fashion_mnist", "scenes", "folder"] = "mnist"
    """Where the pictures come from."""
    root: str | None = None
    """Folder of the pictures, as for the data set of that name; null for scenes."""
    scenes: int = 60_000
    """Training pictures, for scenes; the other sources have as many as they have."""
    download: bool = False
    """Let torchvision download MNIST or Fashion-MNIST if it is not in `root`."""
    image_size: int = 60
    """Pixels a side of the canvas."""
    picture_size: int = 28
    """Pixels a side of a picture; as large as the canvas, or smaller."""
    place: Literal["centre", "anywhere"] = "anywhere"
    """Where a picture lies."""
    shift: int = 0
    """Pixels that a training picture in the centre may be off in each direction."""
    clutter: int = 0
    """Pieces of other training pictures that lie about; Mnih 2014: 4 on 60 pixels, 8 on 100."""
    piece_size: int = 8
    """Pixels a side of such a piece."""
    fresh: bool = True
    """Make new canvases in every epoch instead of repeating the first."""
    valid_share: float | None = None
    """Share of each class's training pictures held out for validation, (0, 1); null is 0.1, or none
    where the set has a validation split of its own."""
    seed: int = 0
    """Of canvases and splits, not of the run: the same seed gives the same canvases anywhere."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""

    def _broken(self) -> Iterator[str]:
        if (self.root is None) != (self.source == "scenes"):
            got = "none" if self.root is None else self.root
            yield f"root belongs to all sources but scenes, got source={self.source} and root={got}"
        if self.scenes < 2:
            yield f"scenes must be 2 or more, got {self.scenes}"
        if self.scenes != 60_000 and self.source != "scenes":
            yield f"scenes belongs to source=scenes, got source={self.source}; leave it out"
        if self.download and self.source not in ON_BLACK:
            yield f"download is for mnist and fashion_mnist, got source={self.source}"
        if not 1 <= self.picture_size <= self.image_size:
            yield (
                f"picture_size must be in [1, image_size], got {self.picture_size} and "
                f"{self.image_size} pixels"
            )
        if not 0 <= self.shift < self.picture_size:
            yield f"shift must be in [0, picture_size), got {self.shift}"
        if self.shift and self.place != "centre":
            yield f"shift belongs to place=centre, got shift={self.shift} and place={self.place}"
        if not 1 <= self.piece_size <= self.picture_size:
            yield f"piece_size must be in [1, picture_size], got {self.piece_size}"
        for name in ("clutter", "seed", "workers"):
            if getattr(self, name) < 0:
                yield f"{name} must be 0 or more, got {getattr(self, name)}"
        if self.valid_share is not None and self.source == "scenes":
            yield "valid_share is not for scenes, which have a validation split; leave it out"
        elif self.valid_share is not None and not 0 < self.valid_share < 1:
            yield f"valid_share must be in (0, 1), got {self.valid_share}"

    @property
    def pictures(self) -> ScenesConfig | FolderConfig | MnistConfig | FashionMnistConfig:
        """Give the settings of the pictures by themselves."""
        if self.root is None:
            return ScenesConfig(image_size=self.picture_size, train=self.scenes, seed=self.seed)
        shared: dict[str, Any] = {
            "root": self.root,
            "image_size": self.picture_size,
            "valid_share": self.valid_share,
            "split_seed": self.seed,
        }
        if self.source == "folder":
            return FolderConfig(**shared)
        kind = MnistConfig if self.source == "mnist" else FashionMnistConfig
        return kind(**shared, download=self.download)

    def build(self) -> Data:
        """Open the pictures, and lay them on canvases."""
        from vision_attn.data.canvas import build

        return build(self)
