"""The embedded data set: drawn scenes whose labels, boxes, masks and captions are known."""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from vision_attn.data.batch import Data, Key, Labelled
from vision_attn.data.config import AugmentConfig, ScenesConfig
from vision_attn.data.describe import scene
from vision_attn.data.draw import paint, visible
from vision_attn.data.layout import plan
from vision_attn.data.pictures import Album, pictures
from vision_attn.data.scene import Scene
from vision_attn.data.shapes import SHAPES
from vision_attn.data.transforms import augment_batch, normalise
from vision_attn.spec import Spec


class Drawings:
    """The images of one split of the drawn scenes; a pure function of its settings.

    Without `fresh` the images are drawn when first read and kept in a file (see `pictures`). With
    it epoch e shows scenes e * length, ... instead, and nothing is kept.
    """

    def __init__(
        self,
        split: str,
        length: int,
        spec: Spec,
        *,
        seed: int = 0,
        fresh: bool = False,
        augment: AugmentConfig = AugmentConfig(),  # noqa: B008  # frozen
    ):
        self.split, self.length, self.spec = split, length, spec
        self.seed, self.fresh, self.augment = seed, fresh, augment

    def __len__(self) -> int:
        return self.length

    def prepared(self, keys: list[Key]) -> Float[Tensor, "batch channel height width"]:
        """Normalise images; augmented where the split was given changes."""
        images = self._drawn([self.number(key) for key in keys])
        if self.augment == AugmentConfig():
            return normalise(images, self.spec)
        return augment_batch(images, keys, self.augment, self.seed, self.spec)

    def number(self, key: Key) -> int:
        """Say which scene of the endless stream a key names."""
        epoch, index = key
        if not 0 <= index < self.length:
            raise IndexError(f"index must be in [0, {self.length}), got {index}")
        return index + epoch * self.length if self.fresh else index

    def __getstate__(self) -> dict:
        """Leave mapped images out: another process maps the file itself."""
        return {k: v for k, v in self.__dict__.items() if not isinstance(v, np.memmap)}

    def digests(self) -> list[str]:
        """Name every scene by all that decides what is on it: the same at any size."""
        return [
            f"{self.seed}-{self.split}-{self.number((0, index))}" for index in range(self.length)
        ]

    def images(self, indices: list[int]) -> UInt8[Tensor, "batch height width channel"]:
        """Give scenes as they are drawn."""
        return self._drawn([self.number((0, index)) for index in indices])

    def masks(self, indices: list[int]) -> Bool[Tensor, "batch height width"]:
        """Give the visible pixels of each scene's main object."""
        size = self.spec.image_size[0]
        layouts = [plan(self.seed, self.split, self.number((0, index))) for index in indices]
        return torch.from_numpy(np.stack([visible(x, size)[x.main] for x in layouts]))

    def scene(self, index: int) -> Scene:
        """Draw a scene with all that is known of it; past the length lie the epochs of `fresh`."""
        return scene(self.seed, self.split, index, self.spec.image_size[0])

    def _drawn(self, numbers: list[int]) -> UInt8[Tensor, "batch height width channel"]:
        """Read images from the file, or draw them now."""
        if not self.fresh:
            return torch.from_numpy(self._images[numbers])
        size = self.spec.image_size[0]
        return torch.from_numpy(
            np.stack([paint(plan(self.seed, self.split, n), size) for n in numbers])
        )

    @cached_property
    def _images(self) -> UInt8[np.ndarray, "batch height width channel"]:
        return pictures(Album(self.seed, self.split, self.length, self.spec.image_size[0]))


class Scenes(Drawings):
    """One split of the drawn scenes, each with the index of its main object's shape."""

    def __getitems__(self, keys: list[Key]) -> Labelled:
        """Give a batch of prepared images with their labels."""
        labels = torch.tensor([self.number(key) for key in keys]) % len(SHAPES)
        return Labelled(self.prepared(keys), labels)


def build(config: ScenesConfig) -> Data:
    """Open the three splits; nothing is drawn before it is read."""
    size = config.image_size
    spec = Spec(image_size=(size, size), names=tuple(SHAPES))
    seed, fresh, augment = config.seed, config.fresh, config.augment
    train = Scenes("train", config.train, spec, seed=seed, fresh=fresh, augment=augment)
    valid = Scenes("valid", config.valid, spec, seed=seed)
    test = Scenes("test", config.test, spec, seed=seed)
    return Data(spec, train, valid, test)
