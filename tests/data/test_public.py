import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from vision_attn.data.loader import share
from vision_attn.data.public_config import (
    Cifar10Config,
    Cifar100Config,
    FashionMnistConfig,
    MnistConfig,
)

REAL = Path(
    os.environ.get("VISION_ATTN_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)
FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


def write_idx(path: Path, values: np.ndarray, packed: bool) -> None:
    data = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if packed:
        Path(f"{path}.gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def write_mnist(root: Path, packed: bool = True, test: bool = True) -> np.ndarray:
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 23))[: 1 + test]:
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(root / f"{prefix}-images-idx3-ubyte", images, packed)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(root / f"{prefix}-labels-idx1-ubyte", labels, packed)
    return images  # of the last part


@pytest.mark.parametrize("kind", [MnistConfig, FashionMnistConfig])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "raw", "{}/raw"])
def test_idx_files_are_found_and_read(tmp_path: Path, kind, packed: bool, place: str):
    name = "MNIST" if kind is MnistConfig else "FashionMNIST"
    images = write_mnist(tmp_path / place.format(name), packed)
    data = kind(root=str(tmp_path)).build()
    assert [len(s) for s in (data.train, data.valid, data.test)] == [50, 10, 23]
    assert torch.bincount(data.valid.labels).tolist() == [1] * 10
    found, labels = next(iter(share(data.test, 99)))
    pixels = (found * data.spec.std[0] + data.spec.mean[0]) * 255
    assert np.array_equal(pixels.round().to(torch.uint8).numpy()[:, 0], images)
    assert labels.tolist() == [i % 10 for i in range(23)]


def test_a_share_of_the_training_images_leaves_the_other_splits_alone(tmp_path: Path):
    write_mnist(tmp_path)
    whole = MnistConfig(root=str(tmp_path)).build()
    part = MnistConfig(root=str(tmp_path), train_share=0.4, share_seed=3).build()
    assert torch.bincount(part.train.labels).tolist() == [2] * 10
    assert set(part.train.indices) < set(whole.train.indices)
    assert np.array_equal(part.valid.indices, whole.valid.indices)
    assert np.array_equal(part.test.indices, whole.test.indices)


def test_images_have_one_digest_at_any_size(tmp_path: Path):
    write_mnist(tmp_path)
    small, large = (
        MnistConfig(root=str(tmp_path), image_size=size, mean=(mean,)).build()
        for size, mean in ((17, 0.1), (28, 0.2))
    )
    assert small.test.digests() == large.test.digests()
    assert len(set(small.valid.digests() + small.test.digests())) == 10 + 23


def test_torchvision_reads_the_same_idx_files(tmp_path: Path):
    write_mnist(tmp_path / "MNIST" / "raw", packed=False)
    theirs = torchvision.datasets.MNIST(str(tmp_path), train=False)
    data = MnistConfig(root=str(tmp_path)).build()
    images, labels = data.test.pictures(data.test.indices.tolist()), data.test.labels
    assert torch.equal(images[..., 0], theirs.data)
    assert torch.equal(labels, theirs.targets)


def test_without_the_test_files_there_is_no_test_split(tmp_path: Path):
    write_mnist(tmp_path, test=False)
    assert MnistConfig(root=str(tmp_path)).build().test is None


def test_grey_sets_can_be_enlarged_and_given_three_channels(tmp_path: Path):
    write_mnist(tmp_path)
    data = MnistConfig(root=str(tmp_path), image_size=41, channels=3).build()
    images = next(iter(share(data.valid, 5))).images
    assert images.shape == (5, 3, 41, 41)
    assert data.spec.mean == (0.1307,) * 3
    assert torch.equal(images[:, 0], images[:, 2])


def write_cifar(root: Path, hundred: bool) -> None:
    rng = np.random.default_rng(0)
    key, base = (
        ("fine_labels", "cifar-100-python") if hundred else ("labels", "cifar-10-batches-py")
    )
    kind = torchvision.datasets.CIFAR100 if hundred else torchvision.datasets.CIFAR10
    (root / base).mkdir(parents=True)
    classes = 100 if hundred else 10
    for name, _ in kind.train_list + kind.test_list:
        labels = [i % classes for i in range(classes * 2)]
        data = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        (root / base / name).write_bytes(pickle.dumps({"data": data, key: labels}))
    names = {kind.meta["key"]: [f"class {i}" for i in range(classes)]}
    (root / base / kind.meta["filename"]).write_bytes(pickle.dumps(names))


@pytest.mark.parametrize("hundred", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_cifar_is_read_through_torchvision(tmp_path: Path, monkeypatch, hundred, channels):
    write_cifar(tmp_path, hundred)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    kind = Cifar100Config if hundred else Cifar10Config
    data = kind(root=str(tmp_path), channels=channels, valid_share=0.5).build()
    assert data.spec.names[1] == "class 1"
    assert len(data.train) == len(data.valid) == (100 if hundred else 50)
    assert len(data.test) == (200 if hundred else 20)
    images, labels = next(iter(share(data.test, 3)))
    assert images.shape == (3, channels, 32, 32)
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [MnistConfig, FashionMnistConfig, Cifar10Config, Cifar100Config])
def test_a_missing_set_says_where_it_looked_and_what_to_do(tmp_path: Path, kind):
    with pytest.raises(ValueError, match=f"root={tmp_path}.*; set download=true"):
        kind(root=str(tmp_path)).build()


@pytest.mark.parametrize("kind", [MnistConfig, Cifar10Config])
def test_nothing_is_downloaded_unless_asked_for(tmp_path: Path, monkeypatch, kind):
    asked = []

    def offline(*_, **__):
        asked.append(kind)
        raise RuntimeError("Error downloading: no network")

    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", offline)
    with pytest.raises(ValueError, match="root must hold"):
        kind(root=str(tmp_path)).build()
    assert asked == []
    with pytest.raises(ValueError, match=r"could not be downloaded: .*no network"):
        kind(root=str(tmp_path), download=True).build()
    assert asked


@pytest.mark.parametrize("damage", ["cut", "kind", "gzip", "count"])
def test_damaged_idx_files_are_named(tmp_path: Path, damage: str):
    write_mnist(tmp_path, packed=damage == "gzip")
    path = tmp_path / ("train-images-idx3-ubyte" + (".gz" if damage == "gzip" else ""))
    data = path.read_bytes()
    if damage == "count":
        write_idx(path, np.zeros((59, 28, 28), np.uint8), packed=False)
    else:
        kind = data[:2] + b"\x0d" + data[3:]
        path.write_bytes({"cut": data[:-5], "kind": kind, "gzip": data[:-50]}[damage])
    message = "label for each image, got 59" if damage == "count" else f"{path.name} (is|must)"
    with pytest.raises(ValueError, match=message):
        MnistConfig(root=str(tmp_path)).build()


@pytest.mark.parametrize(
    ("kind", "root"), [(MnistConfig, REAL / "mnist"), (FashionMnistConfig, FASHION)]
)
def test_real_idx_files(kind, root: Path):
    if not root.exists():
        pytest.skip(f"{root} is not here")
    data = kind(root=str(root)).build()
    assert len(data.train) + len(data.valid) == 60_000
    images = next(iter(share(data.train, 10_000))).images
    assert images.mean().item() == pytest.approx(0, abs=0.01)
    assert images.std().item() == pytest.approx(1, abs=0.01)
