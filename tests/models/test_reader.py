"""Soft readers against sums over pixels."""

import math

import pytest
import torch

from vision_attn.models.reader import FilterBank, SpatialTransformer
from vision_attn.models.retina import retina


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def set_window(reader, *numbers):
    """Let the window be the same whatever the state."""
    with torch.no_grad():
        reader.window.weight.zero_()
        reader.window.bias.copy_(torch.tensor(numbers))


def test_a_filter_bank_weighs_pixels_by_gaussians():
    images, reader = noise(1, 2, 11, 13), FilterBank(5, 3)
    x, y, stride, variance, strength = 0.3, -0.2, -0.5, -0.4, 0.2
    set_window(reader, math.atanh(x), math.atanh(y), stride, variance, strength)
    reading = reader(images, torch.zeros(1, 5))
    for row in range(3):
        for column in range(3):
            total = torch.zeros(2, dtype=torch.float64)
            weight = 0.0
            for j in range(11):
                for i in range(13):
                    mean_x = (x + 1) * 13 / 2 + (column - 1) * math.exp(stride) * 13 / 3
                    mean_y = (y + 1) * 11 / 2 + (row - 1) * math.exp(stride) * 11 / 3
                    sigma_x = 13 / 6 * math.exp(variance / 2)
                    sigma_y = 11 / 6 * math.exp(variance / 2)
                    near = math.exp(
                        -(((i + 0.5 - mean_x) / sigma_x) ** 2 + ((j + 0.5 - mean_y) / sigma_y) ** 2)
                        / 2
                    )
                    total += near * images[0, :, j, i].double()
                    weight += near
            seen = reading.patches[0, :, row, column].double()
            torch.testing.assert_close(
                seen, math.exp(strength) * total / weight, rtol=1e-4, atol=1e-5
            )
    torch.testing.assert_close(reading.centre[0], torch.tensor([x, y]))
    torch.testing.assert_close(reading.extent[0], torch.full((2,), 2 * math.exp(stride)))


def test_a_narrow_filter_far_from_all_pixels_stays_finite():
    reader = FilterBank(5, 4)
    set_window(reader, 9.0, 9.0, 3.0, -40.0, 0.0)
    images = noise(2, 1, 9, 9).requires_grad_()
    reading = reader(images, torch.zeros(2, 5))
    reading.patches.sum().backward()
    assert reading.patches.isfinite().all()
    assert images.grad.isfinite().all()
    assert reader.window.bias.grad.isfinite().all()


def test_a_spatial_transformer_at_the_scale_of_pixels_is_a_retina():
    images, reader = noise(2, 3, 16, 16), SpatialTransformer(5, 4)
    set_window(reader, math.atanh(0.25), math.atanh(-0.5), math.log(4 / 16))
    reading = reader(images, torch.zeros(2, 5))
    expected = retina(images, torch.tensor([[0.25, -0.5]]).expand(2, -1), size=4, scales=1)
    torch.testing.assert_close(reading.patches, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reading.extent, torch.full((2, 2), 0.5))


@pytest.mark.parametrize("kind", [FilterBank, SpatialTransformer])
def test_windows_begin_with_the_whole_image_and_learn_from_what_they_read(kind):
    reader = kind(5, 4)
    state = noise(3, 5).requires_grad_()
    reading = reader(noise(3, 1, 8, 8), state)
    assert reading.patches.shape == (3, 1, 4, 4)
    assert reading.centre.abs().max() < 0.05
    assert (reading.extent - 2).abs().max() < 0.05
    assert reading.window.shape == (3, reader.window.out_features)
    reading.patches.square().sum().backward()
    assert reader.window.weight.grad.abs().sum() > 0
    assert state.grad.abs().sum() > 0
