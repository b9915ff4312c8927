"""The public sets that torchvision can download: MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100."""

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Int64, UInt8

from vision_attn.data.batch import Data
from vision_attn.data.images import Pixels, assemble, usual
from vision_attn.data.public_config import (
    Cifar10Config,
    Cifar100Config,
    FashionMnistConfig,
    MnistConfig,
    PublicConfig,
)
from vision_attn.data.reading import digest
from vision_attn.data.splits import SplitName, divide
from vision_attn.data.transforms import fit
from vision_attn.spec import Spec

CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGITS = tuple("0123456789")
STATISTICS = {  # mean and standard deviation of the training pixels, one a channel
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


class Half(NamedTuple):
    """Hold the training or the test images of a set."""

    images: UInt8[np.ndarray, "image row column channel"]
    labels: Int64[np.ndarray, " image"]


def build_mnist(config: MnistConfig | FashionMnistConfig) -> Data:
    """Open a set in the idx format; without its test files it has no test split."""
    import torchvision

    fashion = config.name == "fashion_mnist"
    kind = torchvision.datasets.FashionMNIST if fashion else torchvision.datasets.MNIST
    root = Path(config.root)
    folders = (root, root / kind.__name__ / "raw", root / "raw")
    train = _idx_half(folders, "train")
    if train is None:
        _download(config, kind)
        train = _idx_half(folders, "train")
    if train is None:
        raise _missing(config, "train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]")
    return _data(config, CLOTHES if fashion else DIGITS, train, _idx_half(folders, "t10k"))


def build_cifar(config: Cifar10Config | Cifar100Config) -> Data:
    """Open a set of CIFAR through torchvision, which checks the files before it unpickles them."""
    import torchvision

    hundred = config.name == "cifar100"
    kind = torchvision.datasets.CIFAR100 if hundred else torchvision.datasets.CIFAR10
    _download(config, kind)
    try:
        halves = [kind(config.root, train=train) for train in (True, False)]
    except RuntimeError:
        raise _missing(config, f"the folder {kind.base_folder}, unpacked and unchanged") from None
    train, test = (Half(half.data, np.array(half.targets, dtype=np.int64)) for half in halves)
    return _data(config, tuple(halves[0].classes), train, test)


def _download(config: PublicConfig, kind: Any) -> None:
    if config.download:
        try:
            kind(config.root, download=True)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{kind.__name__} could not be downloaded: {reason}") from None


def _missing(config: PublicConfig, files: str) -> ValueError:
    name = getattr(config, "name", "")
    return ValueError(
        f"root must hold {name} ({files}), got root={config.root}, where they are not; set "
        f"download=true to have torchvision fetch them, or root to where they are"
    )


def _idx_half(folders: tuple[Path, ...], prefix: str) -> Half | None:
    """Read images and labels from the first folder that has both, packed or not."""
    names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    for folder in folders:
        paths = [
            next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
            for name in names
        ]
        if paths[0] and paths[1]:
            images, labels = read_idx(paths[0]), read_idx(paths[1])
            if len(images) != len(labels):
                raise ValueError(
                    f"{folder} must hold a label for each image, got {len(images)} images and "
                    f"{len(labels)} labels"
                )
            return Half(images[..., None], labels.astype(np.int64))
    return None


def read_idx(path: Path) -> UInt8[np.ndarray, "*shape"]:
    """Read an idx file of bytes: two zeros, 8, the number of axes, their lengths, the values.

    LeCun, Cortes, Burges: the MNIST database.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        axes = data[3]
        shape = np.frombuffer(data, ">u4", axes, offset=4).astype(int)
        values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} must be an idx file of bytes, got one that begins {data[:4]!r}")
    return values


def _data(config: PublicConfig, names: tuple[str, ...], train: Half, test: Half | None) -> Data:
    """Divide, convert and fit the images of both halves."""
    mean, std = STATISTICS[getattr(config, "name", "")]
    spec = Spec(
        image_size=(config.image_size, config.image_size),
        names=names,
        channels=config.channels,
        mean=config.mean or usual(mean, config.channels),
        std=config.std or usual(std, config.channels),
    )
    halves = [train] if test is None else [train, test]
    labels = np.concatenate([half.labels for half in halves])
    given: list[SplitName] = ["train"] * len(train.labels)
    given += ["test"] * (len(labels) - len(given))
    indices = np.arange(len(labels))
    parts = divide(
        labels,
        given,
        indices,
        seed=config.split_seed,
        valid_share=config.valid_share,
        train_share=config.train_share,
        share_seed=config.share_seed,
    )
    values = np.empty((len(labels), *spec.image_size, spec.channels), np.uint8)
    for place, image in enumerate(image for half in halves for image in half.images):
        values[place] = fit(_converted(image, config.channels), spec)
    raw = (digest(image.tobytes()) for half in halves for image in half.images)
    pixels = Pixels(torch.from_numpy(values), digests=np.fromiter(raw, np.uint64, len(labels)))
    return assemble(config, spec, (pixels, pixels), labels, parts, [])


def _converted(
    image: UInt8[np.ndarray, "row column channel"], channels: int
) -> UInt8[np.ndarray, "row column {channels}"]:
    """Repeat a grey image, or weigh red, green and blue into grey."""
    if image.shape[2] == channels:
        return image
    return (
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if channels == 1 else image.repeat(3, 2)
    )
