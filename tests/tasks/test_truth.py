"""Looks against boxes and masks, where the right numbers can be counted by hand."""

import numpy as np
import pytest
import torch

from vision_attn.data.scene import Object, Scene
from vision_attn.models.generate import Caption
from vision_attn.tasks.truth import Judge, looks, summarised

WORDS = ["a", "small", "red", "ring", "and", "a", "blue", "star"]


def thing(shape, colour, size, box, hole=None):
    mask = np.zeros((8, 12), bool)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = True
    if hole is not None:
        mask[hole] = False
    return Object(shape, colour, size, box, mask, ())


RING, STAR = (0, 0, 4, 4), (8, 4, 12, 8)
SCENE = Scene(
    np.zeros((8, 12, 3), np.uint8),
    0,
    0,
    (
        thing("ring", "red", "small", RING, (slice(0, 2), slice(0, 2))),
        thing("star", "blue", "large", STAR),
    ),
    "dark",
    "cloudy",
)


def caption(weights=None, grid=None, centres=None, extents=None):
    return Caption((), 0.0, 0.0, True, weights, None, centres, extents, grid)


def looking(regions, count=6, grid=(2, 3)):
    """Look with all weight at one region a word."""
    return caption(torch.eye(count)[regions][:, None], grid)


def judged(seen, words=WORDS):
    judge = Judge()
    judge.hear(seen, words, SCENE)
    return judge


def test_looks_at_what_is_named_are_right():
    # Regions are 4 x 4 pixels: the ring fills number 0, the star number 5.
    judge = judged(looking([0, 0, 0, 0, 2, 5, 5, 5, 1]))
    ring, star = judge.rows
    assert judge.true == [True]
    for row in (ring, star):
        assert row["mass_in_box"] == row["attention_correctness"] == row["pointing"] == 1
        assert row["uniform_mass_in_box"] == pytest.approx(16 / 96)
    assert ring["mass_in_mask"] == pytest.approx(12 / 16)
    assert ring["uniform_mass_in_mask"] == pytest.approx(12 / 96)
    assert ring["pointing_mask"] == 1  # the hole is not in the middle
    assert "pointing_size" in ring
    assert "pointing_size" not in star


def test_words_are_told_apart():
    ring, star = judged(looking([3, 0, 1, 0, 2, 5, 4, 4, 1])).rows
    assert (ring["pointing_article"], ring["pointing_size"]) == (0, 1)
    assert (ring["pointing_colour"], ring["pointing_shape"]) == (0, 1)
    assert ring["mass_in_box"] == pytest.approx(2 / 3)  # without the article
    assert ring["attention_correctness"] == 1
    assert ring["pointing"] == 1  # two of three words look there
    assert star["pointing"] == star["mass_in_box"] == 0
    assert star["pointing_article"] == 1


def test_chance_is_the_look_at_another_phrases_box():
    ring, star = judged(looking([0, 0, 0, 0, 2, 5, 5, 5, 1])).rows
    assert "chance_pointing" not in ring  # nothing was named before it
    numbers = ("pointing", "pointing_mask", "mass_in_box", "mass_in_mask", "attention_correctness")
    assert {f"chance_{name}" for name in numbers} == {x for x in star if x.startswith("chance")}
    assert all(star[f"chance_{name}"] == 0 for name in numbers)
    _, confused = judged(looking([0, 0, 0, 0, 2, 0, 0, 0, 1])).rows
    for name in numbers:
        assert confused[f"chance_{name}"] == (12 / 16 if name == "mass_in_mask" else 1)


def test_weights_spread_evenly_over_the_pixels_of_a_region():
    weights = torch.rand(1, 2, 35, generator=torch.Generator().manual_seed(3)).double()
    weights /= weights.sum(-1, keepdim=True)
    seen = looks(caption(weights, (5, 7)), (8, 12))  # regions of unequal size
    assert seen.maps.sum() == pytest.approx(1)
    mean = weights[0].mean(0)
    for row, column in np.ndindex(8, 12):
        own = (row * 5 // 8, column * 7 // 12)
        pixels = sum((r * 5 // 8, c * 7 // 12) == own for r, c in np.ndindex(8, 12))
        expected = mean[own[0] * 7 + own[1]].item() / pixels
        assert seen.maps[0, row, column] == pytest.approx(expected)


def test_a_glimpse_covers_its_finest_patch():
    # Centre of the ring's box, a patch of 4 x 4 pixels; then half beyond the left edge.
    centres = torch.tensor([[-8 / 12, -0.5], [-1.0, -0.5]])
    extents = torch.tensor([[8 / 12, 1.0], [8 / 12, 1.0]])
    seen = looks(caption(centres=centres, extents=extents), (8, 12))
    np.testing.assert_allclose(seen.points, [[2, 2], [0, 2]], atol=1e-6)
    np.testing.assert_allclose(seen.maps[0, :4, :4], 1 / 16, atol=1e-6)
    np.testing.assert_allclose(seen.maps.sum((1, 2)), [1, 0.5], atol=1e-6)


def test_glimpses_point_as_often_as_their_words_hit():
    at = {"ring": [-8 / 12, -0.5], "star": [8 / 12, 0.5]}
    order = ["ring", "ring", "star", "ring", "star", "star", "star", "star", "ring"]
    centres = torch.tensor([at[x] for x in order])
    extents = torch.tensor([8 / 12, 1.0]).expand(9, 2)
    ring, star = judged(caption(centres=centres, extents=extents)).rows
    assert ring["pointing"] == pytest.approx(2 / 3)
    assert ring["mass_in_box"] == pytest.approx(2 / 3)
    assert star["pointing"] == 1
    assert star["mass_in_mask"] == pytest.approx(1)


def test_captions_that_are_not_true_have_no_truth():
    judge = judged(looking([0] * 9), ["a", "large", *WORDS[2:]])
    assert judge.true == [False]
    assert judge.rows == []
    assert summarised(judge.rows) == {"phrases": 0}


def test_means_are_over_the_phrases_that_have_a_number():
    judge = judged(looking([0, 0, 0, 0, 2, 5, 4, 4, 1]))
    found = summarised(judge.rows)
    assert found["phrases"] == 2
    assert found["pointing"] == 0.5
    assert found["pointing_size"] == 1
