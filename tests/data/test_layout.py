from collections import Counter

import numpy as np
import pytest

from vision_attn.data.dice import Dice
from vision_attn.data.draw import visible
from vision_attn.data.layout import plan
from vision_attn.data.shapes import COLOURS, MUTED, SHAPES, SIZES, TEXTURES

COUNT = 1200


@pytest.fixture(scope="module")
def layouts():
    return [plan(0, "train", index) for index in range(COUNT)]


def chi_square(table):
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return ((table - expected) ** 2 / expected).sum()


def test_classes_are_balanced_and_name_the_main_object(layouts):
    shapes = [layout.objects[layout.main].shape for layout in layouts]
    assert shapes == list(SHAPES) * (COUNT // len(SHAPES))


def test_shape_tells_nothing_of_colour(layouts):
    shapes, colours = list(SHAPES), list(COLOURS)
    table = np.zeros((len(shapes), len(colours)))
    for layout in layouts:
        for item in layout.objects:
            table[shapes.index(item.shape), colours.index(item.colour)] += 1
    assert table.min() > 0
    assert chi_square(table) < 120  # 63 degrees of freedom: exceeded by chance once in 10^5


def test_nothing_else_gives_the_class_away(layouts):
    """Neither the place of the main object, nor the background, nor the number of objects."""
    shapes = list(SHAPES)
    for feature, kinds in (
        (lambda layout: list(MUTED).index(layout.ground.tone), 2),
        (lambda layout: TEXTURES.index(layout.ground.texture), 3),
        (lambda layout: len(layout.objects) - 1, 4),
        (lambda layout: int(layout.objects[layout.main].x > 2048), 2),
    ):
        table = np.zeros((len(shapes), kinds))
        for index, layout in enumerate(layouts):
            table[index % len(shapes), feature(layout)] += 1
        assert table.min() > 0
        assert chi_square(table) < 9 * (kinds - 1) + 8 * np.sqrt(9 * (kinds - 1))


def test_scenes_vary(layouts):
    counts = Counter(len(layout.objects) for layout in layouts)
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) > COUNT // 10
    assert {item.size for layout in layouts for item in layout.objects} == set(SIZES)
    assert len({item.angle for layout in layouts for item in layout.objects}) > 200


def test_no_two_objects_share_their_name(layouts):
    for layout in layouts:
        assert len({(x.shape, x.colour) for x in layout.objects}) == len(layout.objects)


@pytest.mark.parametrize("size", [24, 48])
def test_main_object_is_by_far_the_largest_that_shows(layouts, size):
    shares, centre = [], []
    for layout in layouts[:400]:
        masks = visible(layout, size)
        areas = [mask.sum() for mask in masks]
        others = areas[: layout.main] + areas[layout.main + 1 :]
        assert areas[layout.main] > 1.4 * max(others, default=0)
        assert min(areas) > 0
        shares.append(areas[layout.main] / size**2)
        centre.append(masks[layout.main][size // 2, size // 2])
    assert min(shares) > 0.05
    assert max(shares) < 0.25
    assert 0.1 < np.mean(shares) < 0.15
    assert np.mean(centre) < 0.4  # else looking at the centre would be an answer


def test_a_scene_needs_no_other_and_no_global_randomness():
    first = plan(7, "test", 10**12)
    np.random.default_rng(3).random(5)
    again = plan(7, "test", 10**12)
    assert first.objects == again.objects
    assert (first.ground.grain == again.ground.grain).all()


def test_splits_seeds_indices_and_purposes_have_streams_of_their_own():
    names = [(0, "train", 0), (1, "train", 0), (0, "train", 1), (0, "valid", 0), (0, "test", 0)]
    streams = [bytes(Dice(*name).bytes(16)) for name in names]
    streams.append(bytes(Dice(0, "train", 0, purpose=1).bytes(16)))
    assert len(set(streams)) == len(streams)


def test_dice_are_fair_and_stay_in_range():
    dice = Dice(11, "valid", 3)
    counts = Counter(dice.between(-2, 4) for _ in range(7000))
    assert set(counts) == set(range(-2, 5))
    assert all(abs(count - 1000) < 150 for count in counts.values())
    assert sorted(dice.shuffled(range(13))) == list(range(13))
