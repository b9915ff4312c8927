"""The settings of data sets that torchvision can download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.data.config import ImagesConfig

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class PublicConfig(ImagesConfig):
    """What the data sets that torchvision can download have in common."""

    root: str = "data"
    """Folder of the original files, or one where torchvision has put them or shall put them."""
    download: bool = False
    """Let torchvision download the set if it is not in `root`."""


@dataclass(frozen=True, kw_only=True)
class MnistConfig(PublicConfig):
    """Handwritten digits, 28x28 grey, 60,000 + 10,000 (LeCun 1998)."""

    name: Literal["mnist"] = "mnist"
    image_size: int = 28
    channels: Literal[1, 3] = 1

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.public import build_mnist

        return build_mnist(self)


@dataclass(frozen=True, kw_only=True)
class FashionMnistConfig(PublicConfig):
    """Articles of clothing, 28x28 grey, 60,000 + 10,000 (Xiao 2017, arXiv:1708.07747)."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    image_size: int = 28
    channels: Literal[1, 3] = 1

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.public import build_mnist

        return build_mnist(self)


@dataclass(frozen=True, kw_only=True)
class Cifar10Config(PublicConfig):
    """Photographs of ten kinds of things, 32x32 RGB, 50,000 + 10,000 (Krizhevsky 2009)."""

    name: Literal["cifar10"] = "cifar10"
    image_size: int = 32

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.public import build_cifar

        return build_cifar(self)


@dataclass(frozen=True, kw_only=True)
class Cifar100Config(PublicConfig):
    """Photographs of a hundred kinds of things, 32x32 RGB, 50,000 + 10,000 (Krizhevsky 2009)."""

    name: Literal["cifar100"] = "cifar100"
    image_size: int = 32

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.public import build_cifar

        return build_cifar(self)
