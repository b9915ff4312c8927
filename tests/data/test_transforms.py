import math
import random

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch.nn import functional

from vision_attn.data.chance import uniforms
from vision_attn.data.config import AugmentConfig
from vision_attn.data.transforms import (
    Draw,
    augment_batch,
    evaluate_batch,
    fit,
    fit_batch,
    normalise,
)
from vision_attn.spec import Spec

SEED = 13
KEYS = [(3, index) for index in range(0, 29 * 7, 7)]
EVERYTHING = AugmentConfig(flip=True, shift=2, crop_scale=0.3, randaugment=7, erase=0.5)


def spec_of(rows: int, columns: int, channels: int = 3, **settings) -> Spec:
    mean, std = (0.4, 0.5, 0.7)[:channels], (0.2, 0.3, 0.1)[:channels]
    shape = {"image_size": (rows, columns), "channels": channels}
    return Spec(names=("a", "b"), mean=mean, std=std, **shape, **settings)


def noise(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def smooth(rows: int, columns: int) -> np.ndarray:
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    waves = [np.sin(3 * x + y), np.cos(2 * y - x), np.sin(x * y * 4)]
    return np.stack([(127 + 120 * w).round() for w in waves], -1).astype(np.uint8)


def in_float64(image: torch.Tensor, spec: Spec) -> torch.Tensor:
    mean, std = torch.tensor(spec.mean).double(), torch.tensor(spec.std).double()
    return ((image.double() / 255 - mean) / std).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_agrees_with_float64(channels: int):
    images, spec = noise(5, 11, 7, channels), spec_of(11, 7, channels)
    wanted = torch.stack([in_float64(image, spec) for image in images])
    found = normalise(images, spec)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_flip_and_shift_agree_with_one_image_at_a_time(channels: int):
    spec, config = spec_of(11, 7, channels), AugmentConfig(flip=True, shift=3)
    images = noise(len(KEYS), 11, 7, channels)
    found = augment_batch(images, KEYS, config, SEED, spec)
    flips, places = 0, set()
    for image, draw, result in zip(images, uniforms(SEED, KEYS, 16), found, strict=True):
        top, left = math.floor(draw[Draw.SHIFT_Y] * 7), math.floor(draw[Draw.SHIFT_X] * 7)
        padded = functional.pad(in_float64(image, spec)[None], (3, 3, 3, 3), mode="reflect")[0]
        wanted = padded[:, top : top + 11, left : left + 7]
        if draw[Draw.FLIP] < 0.5:
            wanted, flips = wanted.flip(-1), flips + 1
        torch.testing.assert_close(result.double(), wanted, atol=2e-6, rtol=0)
        places.add((top, left))
    assert 0 < flips < len(KEYS)
    assert len(places) > 9


def test_random_crops_agree_with_pillow_on_a_smooth_image():
    image, spec = smooth(61, 83), spec_of(67, 71)
    config = AugmentConfig(crop_scale=0.2)
    found = augment_batch([image] * len(KEYS), KEYS, config, SEED, spec)
    for draw, result in zip(uniforms(SEED, KEYS, 16), found, strict=True):
        area = 61 * 83 * (0.2 + 0.8 * draw[Draw.CROP_AREA])
        ratio = (4 / 3) ** (2 * draw[Draw.CROP_RATIO] - 1)
        rows = min(61, round(math.sqrt(area / ratio)))
        columns = min(83, round(math.sqrt(area * ratio)))
        assert 0.99 * 0.2 * 0.95 < rows * columns / (61 * 83) <= 1
        top = math.floor(draw[Draw.CROP_Y] * (61 - rows + 1))
        left = math.floor(draw[Draw.CROP_X] * (83 - columns + 1))
        window = Pillow.fromarray(image[top : top + rows, left : left + columns])
        resized = np.asarray(window.resize((71, 67), Pillow.Resampling.BILINEAR))
        wanted = in_float64(torch.from_numpy(resized.copy()), spec)
        torch.testing.assert_close(result.double(), wanted, atol=2 / 255 / 0.1, rtol=0)


def test_erasing_paints_one_rectangle_of_allowed_size_in_the_mean_colour():
    spec, keys = spec_of(41, 37), [(1, index) for index in range(401)]
    images = noise(len(keys), 41, 37, 3)
    plain = evaluate_batch(images, spec)
    found = augment_batch(images, keys, AugmentConfig(erase=0.25), SEED, spec)
    changed = (found != plain).any(1)
    share = changed.flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.25, abs=3 * math.sqrt(0.25 * 0.75 / 401))
    for result, mask in zip(found, changed, strict=True):
        if mask.any():
            rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert torch.all(result[:, mask] == 0)
            assert 0.01 < mask.float().mean() < 0.36


@pytest.mark.parametrize("config", [EVERYTHING, AugmentConfig(flip=True, shift=3)])
def test_a_sample_does_not_depend_on_its_batch(config: AugmentConfig):
    images, spec = noise(len(KEYS), 17, 19, 3), spec_of(17, 19)
    whole = augment_batch(images, KEYS, config, SEED, spec)
    order = torch.randperm(len(KEYS), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = augment_batch(images[order], [KEYS[i] for i in order], config, SEED, spec)
    assert torch.equal(shuffled, whole[order])
    for i in (0, 5, 28):
        alone = augment_batch(images[i : i + 1], [KEYS[i]], config, SEED, spec)
        assert torch.equal(alone[0], whole[i])


def test_images_of_one_size_and_of_any_size_are_treated_alike():
    images, spec = noise(len(KEYS), 17, 19, 3), spec_of(17, 19)
    loose = [image.numpy() for image in images]
    whole = augment_batch(images, KEYS, EVERYTHING, SEED, spec)
    assert torch.equal(augment_batch(loose, KEYS, EVERYTHING, SEED, spec), whole)


def test_seed_epoch_and_index_each_change_the_result():
    image, spec = noise(1, 17, 19, 3), spec_of(17, 19)
    results = [
        augment_batch(image, [key], EVERYTHING, seed, spec)
        for key, seed in (((0, 0), 0), ((1, 0), 0), ((0, 1), 0), ((0, 0), 1))
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])


def test_augmentation_leaves_images_and_global_generators_alone():
    images, spec = noise(len(KEYS), 17, 19, 3), spec_of(17, 19)
    before, states = images.clone(), global_states()
    augment_batch(images, KEYS, EVERYTHING, SEED, spec)
    assert torch.equal(images, before)
    assert global_states() == states


def global_states() -> tuple:
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    return torch.get_rng_state().tolist(), numpy_state, random.getstate()


def test_nothing_asked_is_nothing_done():
    images, spec = noise(len(KEYS), 17, 19, 3), spec_of(17, 19)
    plain = augment_batch(images, KEYS, AugmentConfig(), SEED, spec)
    assert torch.equal(plain, evaluate_batch(images, spec))


@pytest.mark.parametrize(("rows", "columns"), [(31, 31), (61, 31), (31, 61), (7, 13), (113, 97)])
@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_fit_keeps_the_centre_and_the_aspect(rows: int, columns: int, crop: float):
    y, x = np.mgrid[:rows, :columns]
    image = np.stack([y, x, y * 0], -1).astype(np.uint8)  # a pixel tells where it comes from
    found = fit(image, spec_of(23, 29, crop=crop)).astype(float)
    assert found.shape == (23, 29, 3)
    scale = max(23 / rows, 29 / columns) / crop
    middle = found[11, 14]
    assert middle[0] == pytest.approx((rows - 1) / 2, abs=1 + 1 / scale)
    assert middle[1] == pytest.approx((columns - 1) / 2, abs=1 + 1 / scale)
    assert found[20, 14, 0] - found[2, 14, 0] == pytest.approx(18 / scale, abs=1.5)
    assert found[11, 26, 1] - found[11, 2, 1] == pytest.approx(24 / scale, abs=1.5)


def test_fit_averages_when_it_shrinks_and_drops_no_channel():
    image = noise(1, 46, 58, 1)[0]
    wanted = functional.avg_pool2d(image[None, :, :, 0].float(), 2)[0]
    found = fit(image.numpy(), spec_of(23, 29, 1))
    assert found.shape == (23, 29, 1)
    assert np.abs(found[..., 0] - wanted.numpy()).max() <= 0.5


def test_fit_resamples_as_the_specification_says():
    image = noise(1, 5, 5, 3)[0].numpy()
    found = fit(image, spec_of(10, 10, interpolation="nearest"))
    assert np.array_equal(found, image.repeat(2, 0).repeat(2, 1))
    smooth_one = fit(image, spec_of(10, 10, interpolation="bicubic"))
    assert not np.array_equal(smooth_one, fit(image, spec_of(10, 10)))


def test_a_tensor_of_another_size_is_refused():
    with pytest.raises(ValueError, match="must have image_size"):
        fit_batch(noise(2, 17, 19, 3), spec_of(19, 17))


def test_a_shift_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="shift must be smaller"):
        augment_batch(noise(1, 5, 7, 3), [(0, 0)], AugmentConfig(shift=5), SEED, spec_of(5, 7))
