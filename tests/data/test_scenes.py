import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from vision_attn.data.config import AugmentConfig, ScenesConfig
from vision_attn.data.draw import paint
from vision_attn.data.layout import plan
from vision_attn.data.transforms import augment_batch

CONFIG = ScenesConfig(image_size=29, train=23, valid=7, test=5, seed=3)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_ATTN_CACHE", str(tmp_path))


def test_batches_are_the_normalised_pictures():
    data = CONFIG.build()
    batch = data.train.__getitems__([(0, 19), (4, 2)])
    assert batch.labels.tolist() == [9, 2]
    for image, index in zip(batch.images, (19, 2), strict=True):
        drawn = torch.from_numpy(paint(plan(3, "train", index), 29)).permute(2, 0, 1) / 255
        torch.testing.assert_close(image, (drawn - 0.5) / 0.5)
    assert (len(data.train), len(data.valid), len(data.test)) == (23, 7, 5)
    assert data.spec.image_size == (29, 29)
    assert data.spec.outputs == 10


def test_fresh_scenes_differ_in_every_epoch_and_repeat_in_none():
    fresh = replace(CONFIG, fresh=True).build().train
    images = fresh.__getitems__([(0, 5), (1, 5), (2, 0)]).images
    numbers = [5, 23 + 5, 2 * 23]
    for image, number in zip(images, numbers, strict=True):
        drawn = torch.from_numpy(paint(plan(3, "train", number), 29)).permute(2, 0, 1) / 255
        torch.testing.assert_close(image, (drawn - 0.5) / 0.5)
    assert fresh.__getitems__([(1, 5)]).labels.item() == 28 % 10
    kept = CONFIG.build().train
    first, later = kept.__getitems__([(0, 5), (1, 5)]).images
    assert torch.equal(first, later)


def test_scenes_have_one_name_at_any_size():
    names = CONFIG.build().test.digests()
    assert names == replace(CONFIG, image_size=37).build().test.digests()
    others = replace(CONFIG, seed=4).build().test, CONFIG.build().valid
    assert not any(set(names) & set(other.digests()) for other in others)
    assert len(set(names)) == 5


def test_only_training_images_are_changed():
    changes = AugmentConfig(flip=True, shift=2)
    data, plain = replace(CONFIG, augment=changes).build(), CONFIG.build()
    keys = [(epoch, 11) for epoch in range(6)]
    expected = augment_batch(plain.train.images([11] * 6), keys, changes, 3, plain.spec)
    assert torch.equal(data.train.__getitems__(keys).images, expected)
    assert not torch.equal(expected, plain.train.__getitems__(keys).images)
    keys = [(0, 1), (5, 1)]
    assert torch.equal(data.valid.__getitems__(keys).images, plain.valid.__getitems__(keys).images)


def test_scene_tells_all_of_a_picture():
    valid = CONFIG.build().valid
    masks, images = valid.masks(list(range(7))), valid.images(list(range(7)))
    for index in range(7):
        scene = valid.scene(index)
        main = scene.objects[scene.main]
        assert main.shape == valid.spec.names[scene.label]
        assert (images[index].numpy() == scene.image).all()
        assert (masks[index].numpy() == main.mask).all()
        for item in scene.objects:
            left, top, right, bottom = item.box
            assert item.mask[top:bottom, left:right].sum() == item.mask.sum()
            window = item.mask[top:bottom, left:right]
            edges = (window[0], window[-1], window[:, 0], window[:, -1])
            assert all(edge.any() for edge in edges)


def test_only_what_is_in_front_hides():
    valid = CONFIG.build().valid
    pairs = 0
    for index in range(60):
        for number, item in enumerate(valid.scene(index).objects):
            assert all(behind < number for behind in item.hides)
            pairs += len(item.hides)
    assert pairs > 15


def test_a_pickled_split_reads_the_same_file():
    train = CONFIG.build().train
    batch = train.__getitems__([(0, 1)])
    stored = pickle.dumps(train)
    assert len(stored) < 2000
    assert torch.equal(pickle.loads(stored).__getitems__([(0, 1)]).images, batch.images)


def test_indices_past_the_end_are_refused():
    for index in (-1, 7):
        with pytest.raises(IndexError, match=r"index must be in \[0, 7\)"):
            CONFIG.build().valid.masks([index])


@pytest.mark.parametrize(
    ("field", "value"),
    [("image_size", 23), ("train", 0), ("test", -1), ("seed", -1), ("workers", -2)],
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}.* must be .* or more.*{value}"):
        replace(CONFIG, **{field: value})


def test_splits_show_different_scenes():
    data = CONFIG.build()
    pictures = [split.images([0]).numpy() for split in (data.train, data.valid, data.test)]
    differences = [np.abs(a - b.astype(float)).mean() for a in pictures for b in pictures]
    assert sum(d > 5 for d in differences) == 6
