import numpy as np
import pytest
import torch
from torch import tensor

from vision_attn.explain.localisation import (
    LOCALISATION,
    average_precision,
    box_masks,
    energy_in_mask,
    grow,
    mask_iou,
    pointing_game,
)

MASK = torch.zeros(1, 5, 7, dtype=bool)
MASK[0, 1:3, 2:5] = True


def peak(row, column):
    maps = torch.zeros(1, 5, 7)
    maps[0, row, column] = 3
    return maps


def random_case(seed):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(-3, 4, (5, 7, 11), generator=generator).float()  # with many ties
    masks = torch.rand(5, 7, 11, generator=generator) < 0.3
    return maps, masks


@pytest.mark.parametrize(
    ("place", "tolerance", "hit"),
    [((2, 4), 0, 1), ((3, 4), 0, 0), ((3, 4), 1, 1), ((3, 5), 1, 0), ((3, 5), 1.5, 1)],
)
def test_the_pointing_game_by_hand(place, tolerance, hit):
    assert pointing_game(peak(*place), MASK, tolerance=tolerance).item() == hit


def test_several_highest_pixels_share_the_hit():
    assert pointing_game(peak(1, 2) + peak(0, 0), MASK).item() == 0.5


def test_growing_adds_what_is_near():
    generator = torch.Generator().manual_seed(2)
    masks = torch.rand(2, 9, 13, generator=generator) < 0.05
    places = torch.stack(torch.meshgrid(torch.arange(9), torch.arange(13), indexing="ij"), -1)
    for one, grown in zip(masks, grow(masks, 2.3), strict=True):
        far = torch.cdist(places.view(-1, 2).float(), places[one].float()).amin(1)
        assert torch.equal(grown.flatten(), far <= 2.3)


def test_energy_counts_positive_values_only():
    maps = peak(1, 2) + peak(0, 0) / 3 - peak(4, 4)
    assert energy_in_mask(maps, MASK).item() == 0.75


def test_the_best_threshold_by_hand():
    maps = 3 * peak(1, 2) + 2 * peak(0, 0) + peak(1, 3) + peak(1, 4)
    # Cut below 9: 1 of 6; below 6: 1 of 7; below 3: 3 of 7, which is best; below 0: 6 of 35.
    assert mask_iou(maps, MASK).item() == pytest.approx(3 / 7)


@pytest.mark.parametrize("seed", range(4))
def test_threshold_scores_equal_a_loop_over_thresholds(seed):
    maps, masks = random_case(seed)
    for one, mask, iou, precision in zip(
        maps, masks, mask_iou(maps, masks), average_precision(maps, masks), strict=True
    ):
        best = area = seen = 0.0
        for threshold in sorted(set(one.flatten().tolist()), reverse=True):
            chosen = one >= threshold
            inside = (chosen & mask).sum().item()
            best = max(best, inside / (chosen | mask).sum().item())
            area += (inside / mask.sum().item() - seen) * inside / chosen.sum().item()
            seen = inside / mask.sum().item()
        assert iou.item() == pytest.approx(best)
        assert precision.item() == pytest.approx(area)


@pytest.mark.parametrize("name", LOCALISATION)
def test_a_perfect_map_scores_1_and_a_flat_one_the_share_of_the_mask(name):
    assert LOCALISATION[name](MASK.float(), MASK).item() == 1
    share = MASK.float().mean().item()
    assert LOCALISATION[name](torch.zeros(1, 5, 7), MASK).item() == pytest.approx(share)


@pytest.mark.parametrize("name", LOCALISATION)
def test_a_batch_equals_its_images_one_by_one(name):
    maps, masks = random_case(9)
    together = LOCALISATION[name](maps, masks)
    alone = [LOCALISATION[name](m[None], k[None]) for m, k in zip(maps, masks, strict=True)]
    assert torch.equal(together, torch.cat(alone))


def test_boxes_are_drawn_by_the_centres_of_pixels():
    masks = box_masks(tensor([[2.0, 1.0, 5.0, 3.0], [0.6, 0.0, 1.4, 9.0]]), (5, 7))
    assert torch.equal(masks[0], MASK[0])
    assert not masks[1].any()


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(1, 5, 7, dtype=bool), r"not be empty, got none set for images \[0\]"),
        (torch.ones(1, 5, 7), "boolean"),
        (torch.ones(1, 7, 5, dtype=bool), r"maps' shape \(1, 5, 7\)"),
    ],
)
def test_wrong_masks_raise(masks, message):
    with pytest.raises(ValueError, match=message):
        pointing_game(peak(0, 0), masks)


def test_a_negative_tolerance_raises():
    with pytest.raises(ValueError, match="0 or more pixels, got -1"):
        pointing_game(peak(0, 0), MASK, tolerance=-1)


def test_average_precision_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    maps, masks = random_case(5)
    for one, mask, found in zip(maps, masks, average_precision(maps, masks), strict=True):
        expected = metrics.average_precision_score(np.ravel(mask), np.ravel(one))
        assert found.item() == pytest.approx(expected)
