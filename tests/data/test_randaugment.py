from itertools import pairwise

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageEnhance, ImageOps

from vision_attn.data import randaugment as family
from vision_attn.data.randaugment import OPERATIONS, randaugment

FILL = (7, 11, 13)
IMAGE = np.random.default_rng(0).integers(0, 256, (31, 37, 3), dtype=np.uint8)
SOFT = (IMAGE // 2 + 40).astype(np.uint8)  # leaves room for contrast to be stretched


def by_pillow(image: np.ndarray, change) -> np.ndarray:
    return np.asarray(change(Pillow.fromarray(image))).astype(int)


@pytest.mark.parametrize("strength", [-0.7, 0.3, 1.0])
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("brightness", 1), ("contrast", 2), ("saturation", 2), ("sharpness", 2)],
)
def test_factors_agree_with_pillow(name: str, tolerance: int, strength: float):
    enhancers = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
        "sharpness": ImageEnhance.Sharpness,
    }
    wanted = by_pillow(SOFT, lambda image: enhancers[name](image).enhance(1 + 0.9 * strength))
    found = getattr(family, name)(SOFT, strength, FILL).astype(int)
    assert np.abs(found - wanted)[1:-1, 1:-1].max() <= tolerance  # Pillow sharpens no border


@pytest.mark.parametrize("strength", [-0.5, 0.2, 1.0])
def test_thresholds_and_bits_agree_with_pillow(strength: float):
    level = 255 * (1 - abs(strength))
    inverted = np.where(IMAGE.astype(float) >= level, 255 - IMAGE.astype(int), IMAGE)
    assert np.array_equal(family.solarize(IMAGE, strength, FILL), inverted)
    bits = 8 - round(4 * abs(strength))
    wanted = by_pillow(IMAGE, lambda image: ImageOps.posterize(image, bits))
    assert np.array_equal(family.posterize(IMAGE, strength, FILL), wanted)


def test_histograms_agree_with_pillow():
    wanted = by_pillow(SOFT, ImageOps.autocontrast)
    assert np.abs(family.auto_contrast(SOFT, 1, FILL) - wanted).max() <= 1
    flat = family.equalize(SOFT, 1, FILL)
    for channel in range(3):  # in order, and spread over the whole range
        pairs = sorted(zip(SOFT[..., channel].ravel(), flat[..., channel].ravel(), strict=True))
        assert all(a[1] <= b[1] for a, b in pairwise(pairs))
        assert (pairs[0][1], pairs[-1][1]) == (0, 255)
        assert abs(flat[..., channel].mean() - 127.5) < 5


def test_shifts_move_whole_pixels_and_fill_the_rest():
    found = family.affine(IMAGE, -1.0, FILL, shift=(4 / 37, 0))
    assert np.array_equal(found[:, :-4], IMAGE[:, 4:])
    assert np.all(found[:, -4:] == FILL)
    found = family.affine(IMAGE, 0.5, FILL, shift=(0, 6 / 31))
    assert np.array_equal(found[3:], IMAGE[:-3])
    assert np.all(found[:3] == FILL)


def test_rotation_and_shear_turn_about_the_centre():
    square = IMAGE[:, :31]
    quarter = family.affine(square, 1.0, FILL, degrees=90)
    assert np.array_equal(quarter, np.rot90(square))
    sheared = family.affine(square, 1.0, FILL, shear=(1 / 5, 0))
    for row in (5, 15, 25):  # one pixel to the right for five rows below the centre
        move = (row - 15) // 5
        assert np.array_equal(sheared[row, 9:22], square[row, 9 - move : 22 - move])


@pytest.mark.parametrize("choice", range(len(OPERATIONS)))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_keeps_shape_and_kind(choice: int, channels: int):
    image = np.ascontiguousarray(IMAGE[..., :channels])[:, ::-1]  # as a flip leaves it
    for magnitude in (0, 1, 10):
        draws = ((choice + 0.5) / len(OPERATIONS), 0.2, 0.0, 0.0)  # then identity
        found = randaugment(image, magnitude, FILL[:channels], draws)
        assert found.shape == image.shape
        assert found.dtype == np.uint8


def test_four_numbers_choose_two_operations_and_their_signs():
    def at(operation) -> float:
        return (OPERATIONS.index(operation) + 0.5) / len(OPERATIONS)

    draws = (at(family.brightness), 0.9, at(family.sharpness), 0.1)
    wanted = family.sharpness(family.brightness(IMAGE, -0.5, FILL), 0.5, FILL)
    assert np.array_equal(randaugment(IMAGE, 5, FILL, draws), wanted)
