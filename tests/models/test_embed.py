"""Positions and tokenizers against slow references in float64."""

import math

import numpy as np
import pytest
import torch
from timm.layers import resample_patch_embed

from vision_attn.attention.multihead import rotate
from vision_attn.models.embed import (
    ConvTokenizer,
    axial_rotation,
    prime_factors,
    resize_patches,
    resize_positions,
    sincos_positions,
)


def cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resampling_matrix(old: int, new: int) -> np.ndarray:
    """Row i holds the weights of the old samples in new sample i: bicubic, anti-aliased."""
    ratio = old / new
    widen = max(ratio, 1.0)
    matrix = np.zeros((new, old))
    for i in range(new):
        centre = (i + 0.5) * ratio
        for j in range(old):
            matrix[i, j] = cubic((j + 0.5 - centre) / widen)
        matrix[i] /= matrix[i].sum()
    return matrix


@pytest.mark.parametrize(("old", "new"), [((7, 7), (11, 5)), ((5, 3), (7, 13)), ((13, 11), (3, 7))])
def test_positions_are_resampled_as_a_float64_reference_does(old, new):
    table = torch.randn(1, 2 + math.prod(old), 3, generator=torch.Generator().manual_seed(1))
    resized = resize_positions(table, old, new, prefix=2)
    grid = table[0, 2:].double().numpy().reshape(*old, 3)
    rows, columns = resampling_matrix(old[0], new[0]), resampling_matrix(old[1], new[1])
    expected = np.einsum("ir,jc,rcd->ijd", rows, columns, grid).reshape(-1, 3)
    torch.testing.assert_close(
        resized[0, 2:].double(), torch.from_numpy(expected), atol=1e-5, rtol=0
    )
    assert torch.equal(resized[:, :2], table[:, :2])


def enlarging_matrix(old: int, new: int) -> np.ndarray:
    """Row i holds the weights of the old pixels in new pixel i: linear between pixel centres."""
    matrix = np.zeros((new, old))
    for i in range(new):
        place = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        left = min(int(place), old - 2)
        matrix[i, left : left + 2] = left + 1 - place, place - left
    return matrix


@pytest.mark.parametrize(("old", "new"), [((5, 5), (7, 7)), ((3, 5), (11, 7)), ((7, 7), (3, 5))])
def test_patches_are_resampled_by_the_pseudo_inverse(old, new):
    kernel = torch.randn(4, 3, *old, generator=torch.Generator().manual_seed(1))
    resized = resize_patches(kernel, new).double()
    rows, columns = enlarging_matrix(old[0], new[0]), enlarging_matrix(old[1], new[1])
    enlarge = np.einsum("ir,jc->ijrc", rows, columns).reshape(math.prod(new), math.prod(old))
    flat = kernel.double().flatten(2).numpy()
    expected = np.linalg.lstsq(enlarge.T, flat.reshape(-1, math.prod(old)).T, rcond=None)[0].T
    torch.testing.assert_close(
        resized.flatten(2), torch.from_numpy(expected).view(4, 3, -1), atol=1e-5, rtol=0
    )
    theirs = resample_patch_embed(kernel, list(new), "bilinear", antialias=False)
    torch.testing.assert_close(resized.float(), theirs, atol=1e-5, rtol=0)


def test_an_enlarged_patch_gives_the_token_of_the_small_one():
    kernel = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    patch = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    large = torch.nn.functional.interpolate(patch, (8, 11), mode="bilinear")
    resized = resize_patches(kernel, (8, 11))
    torch.testing.assert_close(
        torch.conv2d(large, resized), torch.conv2d(patch, kernel), atol=1e-5, rtol=0
    )


def test_the_same_grid_is_left_alone_and_a_wrong_one_refused():
    table = torch.randn(1, 16, 3)
    assert resize_positions(table, (3, 5), (3, 5), 1) is table
    with pytest.raises(ValueError, match="16 entries, prefix=1 and grid 4x4"):
        resize_positions(table, (4, 4), (3, 5), 1)


def test_sincos_follows_its_formula():
    table = sincos_positions((3, 5), 16)[0]
    for row in range(3):
        for column in range(5):
            for i in range(4):
                frequency = 10_000 ** (-i / 4)
                quarter = table[row * 5 + column].view(4, 4)[:, i].tolist()
                x, y = column * frequency, row * frequency
                expected = [math.sin(x), math.cos(x), math.sin(y), math.cos(y)]
                assert quarter == pytest.approx(expected, abs=1e-6)


def test_rotary_scores_depend_on_the_offset_alone():
    generator = torch.Generator().manual_seed(2)
    query, key = torch.randn(2, 8, generator=generator)
    rotation = axial_rotation((5, 7), 8, prefix=1)
    turned = [rotate(x.expand(1, 1, 36, 8), rotation)[0, 0] for x in (query, key)]
    scores = (turned[0][1:] @ turned[1][1:].T).view(5, 7, 5, 7)
    torch.testing.assert_close(scores[0, 0, 2, 3], scores[2, 3, 4, 6])
    torch.testing.assert_close(scores[1, 5, 0, 2], scores[4, 6, 3, 3])
    assert abs(scores[0, 0, 2, 3] - scores[0, 0, 3, 2]) > 1e-3
    torch.testing.assert_close(turned[0][0], query)  # the prefix token is not turned
    torch.testing.assert_close(turned[0].norm(dim=1), query.norm().expand(36))


def test_the_conv_tokenizer_covers_a_patch_with_each_token():
    assert prime_factors(12) == [3, 2, 2]
    tokenizer = ConvTokenizer(6, channels=3, dim=32)
    assert tokenizer(torch.randn(2, 3, 30, 42)).shape == (2, 35, 32)
    assert tokenizer.grid((30, 42)) == (5, 7)


def test_pooling_before_the_relu_is_the_papers_tokenizer():
    tokenizer = ConvTokenizer(6, channels=3, dim=32)
    images = torch.randn(2, 3, 30, 42)
    expected = images
    for convolution, pool, relu in zip(*(tokenizer.proj[i::3] for i in range(3)), strict=True):
        expected = pool(relu(convolution(expected)))
    torch.testing.assert_close(tokenizer(images), expected.flatten(2).transpose(1, 2))
