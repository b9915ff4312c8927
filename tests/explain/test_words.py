"""Maps of words: weights laid on the grid, patches of the retina, and where each points."""

import pytest
import torch

from vision_attn.explain.words import middles, patches, points, word_maps
from vision_attn.models.generate import Caption


def caption(weights=None, grid=None, centres=None, extents=None):
    return Caption((4, 2), -1.0, -1.0, True, weights, None, centres, extents, grid)


def test_a_map_is_the_mean_over_heads_laid_on_the_grid():
    weights = torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(3))
    maps = word_maps(caption(weights, (2, 5)), (2, 5))
    torch.testing.assert_close(maps, weights.mean(1).reshape(2, 2, 5))
    large = word_maps(caption(weights, (2, 5)), (8, 20))
    assert large.shape == (2, 8, 20)
    # A word's highest pixels are those of its best region.
    for word in range(2):
        best = divmod(int(maps[word].argmax()), 5)
        highest = divmod(int(large[word].argmax()), 20)
        assert (highest[0] // 4, highest[1] // 4) == best


def test_a_glimpse_marks_its_patch():
    centres = torch.tensor([[0.0, 0.0], [-1.0, 1.0]])
    extents = torch.tensor([[1.0, 0.5], [1.0, 0.5]])
    maps = patches(centres, extents, (8, 4))
    assert maps[0].nonzero().tolist() == [[3, 1], [3, 2], [4, 1], [4, 2]]
    assert maps[1].nonzero().tolist() == [[7, 0]]
    torch.testing.assert_close(word_maps(caption(None, None, centres, extents), (8, 4)), maps)


def test_points_are_middles_of_the_best_regions():
    weights = torch.zeros(2, 2, 6)
    weights[0, :, 4] = weights[1, 0, 2] = 1.0
    found = points(caption(weights, (2, 3)))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5], [2 / 3, -0.5]]))
    assert middles(torch.tensor([[0], [5]]), (2, 3)).shape == (2, 1, 2)


def test_points_of_glimpses_are_their_centres():
    centres = torch.tensor([[0.3, -0.2]])
    assert points(caption(None, None, centres)) is centres


@pytest.mark.parametrize("asked", [points, lambda x: word_maps(x, (4, 4))])
def test_a_caption_without_looks_is_refused(asked):
    with pytest.raises(ValueError, match="must know its looks"):
        asked(caption())
