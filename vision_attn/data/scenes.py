"""The embedded data set: drawn scenes whose labels, boxes, masks and captions are known."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from vision_attn.data.batch import Data, Key, Labelled
from vision_attn.data.config import AugmentConfig, ScenesConfig
from vision_attn.data.dice import Dice
from vision_attn.data.draw import paint, silhouettes, visible
from vision_attn.data.grammar import captions
from vision_attn.data.layout import plan
from vision_attn.data.pictures import Album, pictures
from vision_attn.data.scene import Object, Scene
from vision_attn.data.shapes import SHAPES
from vision_attn.data.transforms import augment_batch, normalise
from vision_attn.spec import Spec


class Scenes:
    """One split of the drawn scenes; a pure function of its settings.

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

    def __getitems__(self, keys: list[Key]) -> Labelled:
        """Give a normalised batch; augmented where the split was given changes."""
        numbers = [self._number(*key) for key in keys]
        labels = torch.tensor(numbers) % len(SHAPES)
        images = self._drawn(numbers)
        if self.augment == AugmentConfig():
            return Labelled(normalise(images, self.spec), labels)
        return Labelled(augment_batch(images, keys, self.augment, self.seed, self.spec), labels)

    def __getstate__(self) -> dict:
        """Leave mapped images out: another process maps the file itself."""
        return {k: v for k, v in self.__dict__.items() if not isinstance(v, np.memmap)}

    def images(self, indices: list[int]) -> UInt8[Tensor, "batch height width channel"]:
        """Give scenes as they are drawn."""
        return self._drawn([self._number(0, index) for index in indices])

    def masks(self, indices: list[int]) -> Bool[Tensor, "batch height width"]:
        """Give the visible pixels of each scene's main object."""
        size = self.spec.image_size[0]
        layouts = [plan(self.seed, self.split, self._number(0, index)) for index in indices]
        return torch.from_numpy(np.stack([visible(x, size)[x.main] for x in layouts]))

    def scene(self, index: int) -> Scene:
        """Draw a scene with all that is known of it; past the length lie the epochs of `fresh`."""
        return scene(self.seed, self.split, index, self.spec.image_size[0])

    def _number(self, epoch: int, index: int) -> int:
        """Say which scene of the endless stream a key names."""
        if not 0 <= index < self.length:
            raise IndexError(f"index must be in [0, {self.length}), got {index}")
        return index + epoch * self.length if self.fresh else index

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


def build(config: ScenesConfig) -> Data:
    """Open the three splits; nothing is drawn before it is read."""
    size = config.image_size
    spec = Spec(image_size=(size, size), names=tuple(SHAPES))
    seed, fresh, augment = config.seed, config.fresh, config.augment
    train = Scenes("train", config.train, spec, seed=seed, fresh=fresh, augment=augment)
    valid = Scenes("valid", config.valid, spec, seed=seed)
    test = Scenes("test", config.test, spec, seed=seed)
    return Data(spec, train, valid, test)


def scene(seed: int, split: str, index: int, size: int) -> Scene:
    """Draw one scene of a split on `size` x `size` pixels and tell what is on it."""
    layout = plan(seed, split, index)
    masks, bodies = visible(layout, size), silhouettes(layout, size)
    objects = tuple(
        Object(item.shape, item.colour, item.size, _box(mask), mask, _hidden(bodies[: number + 1]))
        for number, (item, mask) in enumerate(zip(layout.objects, masks, strict=True))
    )
    label = index % len(SHAPES)
    image = paint(layout, size)
    bare = Scene(image, label, layout.main, objects, layout.ground.tone, layout.ground.texture)
    return replace(bare, captions=captions(bare, Dice(seed, split, index, purpose=1)))


def _box(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """Bound the true pixels."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _hidden(bodies: list[Bool[np.ndarray, "height width"]]) -> tuple[int, ...]:
    """Say of which bodies the last one covers a twentieth, of itself or of the other."""
    *behind, front = bodies
    common = [(front & body).sum() / min(front.sum(), body.sum()) for body in behind]
    return tuple(i for i, share in enumerate(common) if share >= 0.05)
