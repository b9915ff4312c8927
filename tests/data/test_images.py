import io
import os
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from vision_attn.data.config import AugmentConfig, CsvConfig, FolderConfig, TarConfig
from vision_attn.data.files import list_tar
from vision_attn.data.images import build
from vision_attn.data.loader import Loader, share
from vision_attn.data.reading import Files, Pixels

COLOURS = {"blue": (10, 20, 230), "green": (10, 200, 40), "red": (220, 30, 20)}
SIZES = [(31, 43), (29, 23), (19, 19), (53, 37), (24, 24)]
COUNT = 10
REAL = Path(
    os.environ.get("VISION_ATTN_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)


def picture(colour: tuple[int, int, int], size: tuple[int, int], seed: int) -> Pillow.Image:
    noise = np.random.default_rng(seed).integers(-9, 10, (*size, 3))
    return Pillow.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def folder(root: Path, split: str = "") -> Path:
    """Class folders of noisy pictures in one colour each, of five sizes."""
    for name, colour in COLOURS.items():
        (root / split / name).mkdir(parents=True)
        for i in range(COUNT):
            file = root / split / name / f"{i}.png"
            picture(colour, SIZES[i % 5], i).save(file)
    return root


def config(root: Path, **settings) -> FolderConfig:
    return FolderConfig(**{"root": str(root), "image_size": 17, "valid_share": 0.2} | settings)


def colours_of(data, split) -> None:
    """Check that every image of a split has the colour of its label."""
    for images, labels in share(split, 7):
        assert images.shape[1:] == (data.spec.channels, *data.spec.image_size)
        mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (data.spec.mean, data.spec.std))
        found = ((images * std + mean) * 255).mean((2, 3))
        for colour, label in zip(found, labels.tolist(), strict=True):
            assert colour.tolist() == pytest.approx(COLOURS[data.spec.names[label]], abs=4)


@pytest.mark.parametrize("memory", ["always", "never"])
def test_class_folders_become_stratified_splits(tmp_path: Path, memory: str):
    data = config(folder(tmp_path), memory=memory, test_share=0.1).build()
    assert data.spec.names == ("blue", "green", "red")
    assert data.problems == []
    counts = [torch.bincount(s.labels).tolist() for s in (data.train, data.valid, data.test)]
    assert counts == [[7, 7, 7], [2, 2, 2], [1, 1, 1]]
    for split in (data.train, data.valid, data.test):
        colours_of(data, split)


def test_without_a_test_split_there_is_none(tmp_path: Path):
    assert config(folder(tmp_path)).build().test is None


def test_split_folders_are_taken_as_they_are(tmp_path: Path):
    for split in ("train", "val", "test"):
        folder(tmp_path, split)
    data = config(tmp_path, valid_share=None).build()
    assert [len(s) for s in (data.train, data.valid, data.test)] == [30, 30, 30]
    with pytest.raises(ValueError, match="valid_share is for sets without"):
        config(tmp_path).build()


def test_tar_table_and_folder_hold_the_same_images(tmp_path: Path):
    root = folder(tmp_path / "root")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(root, ".")
    lines = [f"root/{name}/{i}.png,{name}" for name in COLOURS for i in range(COUNT)]
    (tmp_path / "set.csv").write_text("\n".join(["path,label", *lines]))
    common = {"image_size": 17, "valid_share": 0.2}
    sets = [
        config(root).build(),
        TarConfig(file=str(tmp_path / "set.tar"), **common).build(),
        CsvConfig(file=str(tmp_path / "set.csv"), **common).build(),
    ]
    for other in sets[1:]:
        for one, same in ((sets[0].train, other.train), (sets[0].valid, other.valid)):
            batch, again = next(iter(share(one, 99))), next(iter(share(same, 99)))
            assert torch.equal(batch.images, again.images)
            assert torch.equal(batch.labels, again.labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_and_workers_change_no_batch(tmp_path: Path, workers: int):
    folder(tmp_path)
    augment = AugmentConfig(flip=True, shift=3, randaugment=5, erase=0.3)
    kept = config(tmp_path, augment=augment, memory="always").build()
    read = config(tmp_path, augment=augment, memory="never").build()
    batches = Loader(kept.train, 11, seed=1).batches()
    others = Loader(read.train, 11, seed=1, workers=workers).batches()
    for batch, other in islice(zip(batches, others, strict=True), 6):
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.labels, other.labels)


def test_training_images_change_with_the_epoch_and_validation_ones_never(tmp_path: Path):
    augment = AugmentConfig(crop_scale=0.5, flip=True)
    data = config(folder(tmp_path), augment=augment).build()
    keys = [(0, 3), (1, 3), (0, 3)]
    one, two, again = data.train.__getitems__(keys).images
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    one, two, _ = data.valid.__getitems__(keys).images
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("size", "settings", "kept"),
    [
        (64, {}, True),
        (16, {"augment": AugmentConfig(crop_scale=0.3)}, False),  # crops have more to choose from
        (64, {"augment": AugmentConfig(crop_scale=0.3)}, True),
        (16, {"memory": "never"}, False),
        (16, {"augment": AugmentConfig(crop_scale=0.3), "memory": "always"}, True),
    ],
)
def test_pixels_are_kept_where_nothing_is_lost(tmp_path: Path, size: int, settings, kept: bool):
    data = config(folder(tmp_path), image_size=size, **settings).build()
    assert isinstance(data.train.pictures, Pixels if kept else Files)


def test_pixels_are_not_kept_beyond_the_memory_allowed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("vision_attn.data.images.MEMORY", 30 * 17 * 17 * 3 - 1)
    assert isinstance(config(folder(tmp_path)).build().train.pictures, Files)


def test_the_validation_split_depends_on_split_seed_alone(tmp_path: Path):
    folder(tmp_path)
    first, again, other = (
        set(config(tmp_path, split_seed=s, image_size=size).build().valid.indices.tolist())
        for s, size in ((0, 17), (0, 19), (1, 17))
    )
    assert first == again != other


def spoil(root: Path) -> None:
    """Put one bad file of each kind beside the good ones, and some odd but good ones."""
    jpeg = io.BytesIO()
    picture(COLOURS["red"], (67, 61), 0).save(jpeg, "JPEG")
    (root / "red" / "cut.jpg").write_bytes(jpeg.getvalue()[:700])
    (root / "red" / "empty.png").write_bytes(b"")
    (root / "blue" / "notes.txt").write_text("not a picture")
    (root / "stray.txt").write_text("in no class")
    picture(COLOURS["green"], (41, 41), 0).convert("CMYK").save(root / "green" / "cmyk.jpg")
    picture(COLOURS["green"], (41, 41), 0).convert("RGBA").save(root / "green" / "alpha.png")


@pytest.mark.parametrize("memory", ["always", "never"])
def test_bad_files_are_left_out_and_listed(tmp_path: Path, memory: str):
    spoil(folder(tmp_path))
    data = config(tmp_path, memory=memory, bad_share=0.1).build()
    found = {Path(p.path).name: p.reason.split(":")[0] for p in data.problems}
    assert found == {
        "cut.jpg": "damaged",
        "empty.png": "empty file",
        "notes.txt": "not an image, or in an unknown format",
        "stray.txt": "not in the folder of a class",
    }
    assert len(data.train) + len(data.valid) == 3 * COUNT + 2
    for split in (data.train, data.valid):
        colours_of(data, split)


def test_too_many_bad_files_are_an_error(tmp_path: Path):
    spoil(folder(tmp_path))
    message = r"bad_share=0.05 .* got 3 of 35; (.|\n)*notes.txt: not an image"
    with pytest.raises(ValueError, match=message):
        config(tmp_path, bad_share=0.05).build()


def test_a_file_that_is_gone_while_training_is_named(tmp_path: Path):
    data = config(folder(tmp_path), memory="never").build()
    (tmp_path / "blue" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"blue.0\.png: cannot be read: No such file"):
        list(share(data.train, 7)) + list(share(data.valid, 7))


def test_a_missing_file_of_a_table_is_a_problem(tmp_path: Path):
    folder(tmp_path)
    lines = [f"{name}/{i}.png,{name}" for name in COLOURS for i in range(COUNT + (name == "red"))]
    (tmp_path / "set.csv").write_text("\n".join(["path,label", *lines]))
    data = CsvConfig(file=str(tmp_path / "set.csv"), image_size=17, bad_share=0.1).build()
    assert [(Path(p.path).name, p.reason) for p in data.problems] == [
        ("10.png", "cannot be read: No such file or directory")
    ]


def test_a_class_without_training_images_is_named(tmp_path: Path):
    folder(tmp_path, "train")
    (tmp_path / "val" / "violet").mkdir(parents=True)
    picture((99, 0, 99), (19, 19), 0).save(tmp_path / "val" / "violet" / "0.png")
    with pytest.raises(ValueError, match="needs a training image, got none of violet"):
        config(tmp_path, valid_share=None).build()


def test_grey_statistics_follow_the_channels(tmp_path: Path):
    data = config(folder(tmp_path), channels=1).build()
    assert data.spec.mean == (0.449,)
    assert next(iter(share(data.valid, 3))).images.shape[1:] == (1, 17, 17)
    data = config(tmp_path, channels=1, mean=(0.25,), std=(0.125,)).build()
    assert (data.spec.mean, data.spec.std) == ((0.25,), (0.125,))


def test_real_cifar10_from_its_tar():
    file = REAL / "cifar10" / "train.tar"
    if not file.exists():
        pytest.skip(f"{file} is not here; set VISION_ATTN_DATA to the folder that has it")
    listing = list_tar(str(file))
    assert len(listing.files) == 50_000
    few = listing._replace(files=listing.files[::100])
    data = build(TarConfig(file=str(file), image_size=32), few)
    assert data.spec.names[:3] == ("airplane", "automobile", "bird")
    assert (len(data.train), len(data.valid), data.problems) == (450, 50, [])
    images = next(iter(share(data.train, 450))).images
    assert images.mean().item() == pytest.approx(0, abs=0.2)
    assert images.std().item() == pytest.approx(1.1, abs=0.1)
