import numpy as np
import pytest
import torch

from vision_attn.report.overlay import lit, overlay, pictures, stretched, to_bytes
from vision_attn.spec import Spec

SPEC = Spec(image_size=(5, 7), names=("a",), mean=(0.1, 0.5, 0.9), std=(0.3, 0.5, 0.2))


def test_pictures_undo_the_normalisation():
    original = torch.rand(3, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(x)[:, None, None] for x in (SPEC.mean, SPEC.std))
    shown = pictures((original - mean) / std, SPEC)
    np.testing.assert_allclose(shown, original.permute(0, 2, 3, 1), atol=1e-6)


def test_colours_out_of_range_are_clipped_and_never_wrap():
    shown = pictures(torch.full((1, 3, 5, 7), 100.0), SPEC)
    assert (to_bytes(shown[0]) == 255).all()
    assert (to_bytes(np.full((2, 3, 3), 1.2)) == 255).all()
    assert (to_bytes(np.full((2, 3, 3), -0.2)) == 0).all()


def test_one_channel_becomes_grey():
    spec = Spec(image_size=(5, 7), names=("a",), channels=1, mean=(0.5,), std=(0.5,))
    shown = pictures(torch.zeros(2, 1, 5, 7), spec)
    assert shown.shape == (2, 5, 7, 3)
    assert (shown == 0.5).all()


def test_unsigned_maps_stretch_to_the_unit_interval_each_by_itself():
    maps = torch.tensor([[[2.0, 3.0], [4.0, 6.0]], [[0.0, 0.0], [0.0, 1e-6]]])
    got = stretched(maps, signed=False)
    np.testing.assert_allclose(got, [[[0, 0.25], [0.5, 1]], [[0, 0], [0, 1]]], atol=1e-6)


def test_signed_maps_keep_zero_in_the_middle():
    got = stretched(torch.tensor([[[-1.0, 0.0], [2.0, 4.0]]]), signed=True)
    np.testing.assert_allclose(got, [[[0.375, 0.5], [0.75, 1]]], atol=1e-6)


@pytest.mark.parametrize(("signed", "middle"), [(False, 0.0), (True, 0.5)])
def test_a_map_of_zeros_draws_as_zero(signed, middle):
    assert (stretched(torch.zeros(1, 3, 4), signed) == middle).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="must be finite"):
        stretched(torch.tensor([[[0.0, value]]]), signed=False)


def test_overlay_mixes_grey_and_colour_by_opacity():
    picture = np.random.default_rng(0).random((3, 4, 3))
    bare = overlay(picture, np.zeros((3, 4)), signed=False, opacity=0.0)
    grey = picture @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(bare, np.repeat(grey[..., None], 3, -1))
    full = overlay(picture, np.full((3, 4), 0.5), signed=True, opacity=1.0)
    np.testing.assert_allclose(full, np.full((3, 4, 3), 0.967), atol=0.01)  # white is zero


def test_a_lit_picture_is_covered_where_its_map_is_high_and_seen_where_it_is_low():
    picture = np.random.default_rng(0).random((3, 4, 3))
    grey = picture @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(lit(picture, np.zeros((3, 4))), np.repeat(grey[..., None], 3, -1))
    full = lit(picture, np.ones((3, 4)), opacity=1.0)
    np.testing.assert_allclose(full, np.broadcast_to([0.988, 1.0, 0.645], (3, 4, 3)), atol=0.01)
    quarter = lit(picture, np.full((3, 4), 0.25), opacity=0.6)
    colour = lit(picture, np.full((3, 4), 0.25), opacity=2.0)  # sqrt(0.25) of 2: opaque
    np.testing.assert_allclose(quarter, 0.7 * grey[..., None] + 0.3 * colour)
