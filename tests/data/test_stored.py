"""Sets kept for large trainings: webdataset's shards, and Arrow tables of `datasets`."""

from pathlib import Path

import pytest
import torch
from picture_files import encoded, write_tar

from vision_attn.data import arrow
from vision_attn.data.division import division
from vision_attn.data.loader import share
from vision_attn.data.shards import list_shards, shards
from vision_attn.data.stored_config import DatasetsConfig, ShardsConfig


@pytest.fixture
def folder(tmp_path) -> Path:
    for shard in range(3):
        samples: dict[str, bytes] = {}
        for number in range(8 * shard, 8 * shard + 8):
            samples[f"part.a/{number:03d}.json"] = b"{}"
            samples[f"part.a/{number:03d}.PNG"] = encoded(number)
            samples[f"part.a/{number:03d}.cls"] = f"{9 + number % 2}\n".encode()
        write_tar(tmp_path / f"train-{shard:02d}.tar", samples)
    return tmp_path


def brightness(data, split) -> dict[int, str]:
    """Give the label of every image by its number."""
    mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (data.spec.mean, data.spec.std))
    return {
        round(((image * std + mean) * 25.5).mean().item()): data.spec.names[label]
        for images, labels in share(split, 5)
        for image, label in zip(images, labels, strict=True)
    }


@pytest.mark.parametrize("memory", ["always", "never"])
def test_samples_of_shards_are_read_in_place(folder, memory):
    settings = {"image_size": 7, "valid_share": 0.25, "memory": memory}
    data = ShardsConfig(train=f"{folder}/train-{{00..02}}.tar", **settings).build()
    assert data.spec.names == ("9", "10")
    found = brightness(data, data.train) | brightness(data, data.valid)
    assert found == {number: str(9 + number % 2) for number in range(24)}
    assert (len(data.train), len(data.valid)) == (18, 6)
    row = next(division(data))
    assert row.place == "train-00.tar/part.a/" + row.place[-7:]
    assert row.path == f"{folder}/train-00.tar:part.a/{row.place[-7:]}"


def test_splits_have_patterns_of_their_own(folder):
    settings = {"image_size": 7, "valid": f"{folder}/train-01.tar", "test": f"{folder}/*-02.tar"}
    data = ShardsConfig(train=f"{folder}/train-00.tar", **settings).build()
    assert [min(brightness(data, x)) for x in (data.train, data.valid, data.test)] == [0, 8, 16]


def test_patterns_name_the_shards_there_are(folder):
    wanted = [f"{folder}/train-0{number}.tar" for number in (0, 1)]
    assert shards(f"{folder}/train-{{00..01}}.tar") == wanted
    assert shards(f"{folder}/train-0[01].tar") == wanted
    with pytest.raises(ValueError, match="no such file"):
        shards(f"{folder}/train-{{7..9}}.tar")


def test_samples_that_lack_a_part_are_told(folder):
    write_tar(
        folder / "odd.tar",
        {"a.jpg": encoded(1, "jpeg"), "b.cls": b"9", "c.png": encoded(2), "c.cls": b"10"}
        | {"d.png": encoded(3), "d.cls": b"dog"},
    )
    listing = list_shards(f"{folder}/odd.tar")
    assert listing.names == ("10", "dog")
    assert [(x.path.rpartition(":")[2], x.reason) for x in listing.strays] == [
        ("a", "a sample without .cls file"),
        ("b", "a sample without image"),
    ]
    (folder / "broken.tar").write_bytes(b"no tar" * 100)
    with pytest.raises(ValueError, match="must be an uncompressed tar"):
        list_shards(f"{folder}/broken.tar")
    write_tar(folder / "empty.tar", {"README": b""})
    with pytest.raises(ValueError, match="two or more classes, got 0 samples"):
        list_shards(f"{folder}/empty.tar")


@pytest.fixture
def saved(tmp_path):
    """Write two splits as the library does: named classes, images as bytes."""
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "ant"])}
    )

    def table(numbers):
        rows = {
            "image": [{"bytes": encoded(number), "path": None} for number in numbers],
            "label": [number % 2 for number in numbers],
        }
        return datasets.Dataset.from_dict(rows, features=features)

    parts = {"train": table(range(16)), "test": table(range(16, 24))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.mark.parametrize("memory", ["always", "never"])
def test_rows_of_a_saved_set_keep_their_classes_and_splits(saved, memory):
    settings = {"image_size": 7, "valid_share": 0.25, "memory": memory}
    data = DatasetsConfig(root=str(saved), **settings).build()
    assert data.spec.names == ("cat", "ant")  # in the order of the set
    found = brightness(data, data.train) | brightness(data, data.valid)
    assert found == {number: ("cat", "ant")[number % 2] for number in range(16)}
    assert min(brightness(data, data.test)) == 16
    assert next(division(data)).path.startswith(f"{saved}:train/")


def test_missing_columns_and_folders_are_told(saved):
    with pytest.raises(ValueError, match="must have the columns image=photo and label=label"):
        DatasetsConfig(root=str(saved), image="photo").build()
    with pytest.raises(ValueError, match="must be a folder of save_to_disk"):
        DatasetsConfig(root=str(saved.parent)).build()


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(arrow, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'vision_attn\[datasets\]'"):
        DatasetsConfig(root=str(tmp_path)).build()
