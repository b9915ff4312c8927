import pytest
import torch

from vision_attn.explain.maps import is_flat, normalise, upsample

MAPS = torch.tensor([[[0.0, 2.0], [4.0, 8.0]], [[-4.0, 0.0], [1.0, 2.0]], [[3.0, 3.0], [3.0, 3.0]]])


def test_upsampling_keeps_values_raw_and_the_grid_where_it_is():
    grid = torch.tensor([[[-3.0, 5.0, 7.0]]])
    big = upsample(grid, (5, 9))
    assert big.shape == (1, 5, 9)
    # Cells are 3 pixels wide: their centres are pixels 1, 4 and 7, and linear between.
    torch.testing.assert_close(
        big[0, 2], torch.tensor([-3, -3, -1 / 3, 7 / 3, 5, 17 / 3, 19 / 3, 7, 7])
    )


@pytest.mark.parametrize("size", [(7, 11), (14, 22), (5, 23), (3, 2)])
def test_upsampling_is_bilinear(size):
    grids = torch.randn(3, 7, 11, generator=torch.Generator().manual_seed(5))
    expected = torch.nn.functional.interpolate(grids[None], size, mode="bilinear")[0]
    torch.testing.assert_close(upsample(grids, size), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(upsample(grids, size), expected)


@pytest.mark.parametrize(("cells", "pixels"), [(12, 100), (14, 384), (8, 28), (8, 48)])
def test_equal_values_stay_equal(cells, pixels):
    levels = torch.rand(29, 1, 1, generator=torch.Generator().manual_seed(5))
    flat = upsample(levels.expand(29, cells, cells), (pixels, pixels + 3))
    assert torch.equal(flat, levels.expand_as(flat))


def test_half_precision_is_widened():
    assert upsample(torch.ones(1, 2, 3, dtype=torch.bfloat16), (4, 5)).dtype == torch.float32


def test_each_map_has_its_own_scale():
    expected = [[[0, 0.25], [0.5, 1]], [[0, 4 / 6], [5 / 6, 1]], [[0, 0], [0, 0]]]
    torch.testing.assert_close(normalise(MAPS), torch.tensor(expected))


def test_signed_maps_keep_zero_in_place():
    expected = [[[0, 0.25], [0.5, 1]], [[-1, 0], [0.25, 0.5]], [[1, 1], [1, 1]]]
    torch.testing.assert_close(normalise(MAPS, signed=True), torch.tensor(expected))


def test_a_shared_scale_keeps_maps_comparable():
    torch.testing.assert_close(normalise(MAPS, shared=True), (MAPS + 4) / 12)
    torch.testing.assert_close(normalise(MAPS, signed=True, shared=True), MAPS / 8)


def test_flat_maps_are_told_and_draw_as_zero():
    maps = torch.stack([torch.zeros(3, 5), torch.full((3, 5), 7.0), torch.eye(3, 5)])
    assert is_flat(maps).tolist() == [True, True, False]
    assert not normalise(maps)[:2].any()
