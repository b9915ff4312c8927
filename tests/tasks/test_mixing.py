import pytest
import torch

from vision_attn.tasks.mixing import blend, draw_box, mix, paste

IMAGES = torch.arange(5 * 3 * 7 * 11, dtype=torch.float64).reshape(5, 3, 7, 11)
TARGETS = torch.eye(5, dtype=torch.float64)
PARTNER = torch.tensor([3, 0, 4, 1, 2])


def test_blend_is_a_weighted_mean_of_two():
    images, targets = blend(IMAGES, TARGETS, PARTNER, 0.7)
    for index, partner in enumerate(PARTNER.tolist()):
        torch.testing.assert_close(images[index], 0.7 * IMAGES[index] + 0.3 * IMAGES[partner])
        assert targets[index, index].item() == pytest.approx(0.7)
        assert targets[index, partner].item() == pytest.approx(0.3)


def test_paste_takes_pixels_from_the_box_and_targets_by_its_area():
    before = IMAGES.clone()
    images, targets = paste(IMAGES, TARGETS, PARTNER, (2, 5, 3, 11))
    for index, partner in enumerate(PARTNER.tolist()):
        for row in range(7):
            for column in range(11):
                source = partner if 2 <= row < 5 and 3 <= column < 11 else index
                assert torch.equal(images[index, :, row, column], before[source, :, row, column])
        assert targets[index, partner].item() == pytest.approx(3 * 8 / 77)
        assert targets[index, index].item() == pytest.approx(1 - 3 * 8 / 77)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("area", [0.0, 0.25, 1.0])
def test_boxes_have_the_area_or_are_clipped(area):
    torch.manual_seed(0)
    boxes = [draw_box(20, 40, area) for _ in range(200)]
    areas = [(bottom - top) * (right - left) / 800 for top, bottom, left, right in boxes]
    assert max(areas) <= area
    assert all(0 <= t <= b <= 20 and 0 <= le <= r <= 40 for t, b, le, r in boxes)
    inside = [box for box in boxes if box[0] > 0 and box[1] < 20 and box[2] > 0 and box[3] < 40]
    assert {(b - t, r - le) for t, b, le, r in inside} <= {(20 * area**0.5, 40 * area**0.5)}
    assert area != 0.25 or len(inside) > 20


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixed_targets_sum_to_one_and_are_linear_in_the_pixels(mixup, cutmix):
    # With one constant image a class, the mean pixel must be what the targets say, however mixed.
    values = torch.tensor([2.0, 3.0, 5.0, 7.0, 11.0], dtype=torch.float64)
    images = values[:, None, None, None].expand(5, 1, 16, 16).contiguous()
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        mixed, targets = mix(images, TARGETS, mixup, cutmix)
        torch.testing.assert_close(targets.sum(1), torch.ones(5, dtype=torch.float64))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ values)
        seen.add(bool((mixed.flatten(1).std(1) > 1e-9).any()))
    assert seen >= ({True, False} if mixup and cutmix else {cutmix > 0})


def test_shares_of_mixup_are_those_of_the_beta_distribution():
    torch.manual_seed(0)
    shares = torch.stack(
        [mix(IMAGES[:2], TARGETS[:2, :2], 1.0, 0.0)[1].diagonal() for _ in range(1000)]
    )[:, 0]
    mixed = shares[shares < 1]  # half of the permutations of two leave all in place
    assert len(mixed) / 1000 == pytest.approx(0.5, abs=0.06)
    assert mixed.mean().item() == pytest.approx(1 / 2, abs=0.03)
    assert mixed.var().item() == pytest.approx(1 / 12, abs=0.01)


def test_nothing_is_drawn_when_off():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    images, targets = mix(IMAGES, TARGETS, 0.0, 0.0)
    assert images is IMAGES
    assert targets is TARGETS
    assert torch.equal(torch.get_rng_state(), before)
