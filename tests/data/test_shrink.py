import math

import cv2
import numpy as np
import pytest

from vision_attn.data.shrink import averaged
from vision_attn.data.transforms import fit
from vision_attn.spec import Spec

WHOLE = slice(0, 29), slice(0, 37)
PART = slice(3, 26), slice(11, 30)


def noise(rows: int, columns: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, channels), dtype=np.uint8)


def mean_of_area(image: np.ndarray, top: float, left: float, bottom: float, right: float):
    total = 0.0
    for row in range(math.floor(top), min(math.ceil(bottom), image.shape[0])):
        for column in range(math.floor(left), min(math.ceil(right), image.shape[1])):
            height = min(row + 1, bottom) - max(row, top)
            width = min(column + 1, right) - max(column, left)
            total += height * width * image[row, column].astype(float)
    return total / ((bottom - top) * (right - left))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_the_mean_of_its_area(channels: int):
    image, down, right = noise(43, 71, channels), 43 / 29, 71 / 37
    found = averaged(image, (29, 37), *PART)
    assert found.shape == (23, 19, channels)
    assert found.dtype == np.uint8
    for row in range(23):
        for column in range(19):
            top, left = (row + 3) * down, (column + 11) * right
            wanted = mean_of_area(image, top, left, top + down, left + right)
            assert np.abs(found[row, column] - wanted).max() < 0.51


@pytest.mark.parametrize("kept", [WHOLE, PART])
@pytest.mark.parametrize("shape", [(31, 41), (43, 71), (131, 211), (29, 53)])
def test_agrees_with_opencv_but_for_the_rounding_of_a_few(
    shape: tuple[int, int], kept: tuple[slice, slice]
):
    image = noise(*shape)
    wanted = cv2.resize(image, (37, 29), interpolation=cv2.INTER_AREA)[kept]
    apart = np.abs(averaged(image, (29, 37), *kept).astype(int) - wanted)
    assert apart.max() <= 1
    assert apart.mean() < 1e-3


@pytest.mark.parametrize(("rows", "columns"), [(375, 500), (512, 682), (113, 907), (97, 101)])
def test_fitting_cuts_what_opencv_would_have_shrunk_whole(rows: int, columns: int):
    image, spec = noise(rows, columns), Spec(image_size=(89, 83), names=("a", "b"), crop=0.95)
    scale = max(89 / rows, 83 / columns) / 0.95
    height, width = round(rows * scale), round(columns * scale)
    whole = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (height - 89) // 2, (width - 83) // 2
    apart = np.abs(fit(image, spec).astype(int) - whole[top : top + 89, left : left + 83])
    assert apart.max() <= 1
    assert apart.mean() < 1e-3


def test_halves_are_as_opencv_rounds_them():
    image, spec = noise(46, 94), Spec(image_size=(23, 29), names=("a", "b"))
    wanted = cv2.resize(image, (47, 23), interpolation=cv2.INTER_AREA)[:, 9:38]
    assert np.array_equal(fit(image, spec), wanted)
