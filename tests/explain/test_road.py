import numpy as np
import pytest
import torch
from toys import SIZE, Smooth, batch

from vision_attn.explain.road import impute, road


def holes(share, count=2, size=SIZE):
    """Give random holes, dense enough to touch the border and each other."""
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(23)) < share


def mean_of_neighbours(image, row, column):
    """Average in plain loops over the neighbours inside the image."""
    total, weights = 0.0, 0.0
    for r in range(max(row - 1, 0), min(row + 2, image.shape[0])):
        for c in range(max(column - 1, 0), min(column + 2, image.shape[1])):
            distance = abs(r - row) + abs(c - column)
            weight = {0: 0.0, 1: 1 / 6, 2: 1 / 12}[distance]
            total, weights = total + weight * image[r, c].item(), weights + weight
    return total / weights


def test_a_hole_inside_a_slope_is_filled_with_the_slope():
    slope = torch.linspace(0, 3, 13).view(1, 1, -1, 1) - torch.linspace(1, 6, 11).view(1, 1, 1, -1)
    removed = torch.zeros(1, 13, 11, dtype=torch.bool)
    removed[0, 2:9, 1:10] = True
    torch.testing.assert_close(impute(torch.where(removed, 99.0, slope), removed), slope)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_pixel_filled_in_is_the_mean_of_its_neighbours(share):
    images, removed = batch(2)[0], holes(share)
    filled = impute(images, removed)
    kept = ~removed[:, None].expand_as(images)
    assert torch.equal(filled[kept], images[kept])
    for i, row, column in removed.nonzero().tolist():
        for channel in filled[i]:
            expected = mean_of_neighbours(channel, row, column)
            assert channel[row, column].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_filling_equals_the_grad_cam_packages():
    peer = pytest.importorskip("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0.0)
    images, removed = batch(2)[0].float(), holes(0.6)
    for image, hole, found in zip(images, removed, impute(images, removed)):
        torch.testing.assert_close(found, peer(image, (~hole).float()), atol=1e-5, rtol=0)


def test_an_image_without_holes_stays():
    images = batch(2)[0]
    assert torch.equal(impute(images, holes(0.0)), images)


def test_an_image_of_holes_raises():
    with pytest.raises(ValueError, match="every pixel"):
        impute(batch(2)[0], holes(2.0))


def test_road_equals_a_loop_over_fractions():
    network, (images, targets) = Smooth().eval(), batch()
    maps = torch.randn(len(images), *SIZE, generator=torch.Generator().manual_seed(9))
    found = road(network, images, targets, maps, fractions=(0.3, 0.8), noise=0.2, seed=5)
    pixels = SIZE[0] * SIZE[1]
    for i in range(len(images)):
        chances = []
        for step, (sign, share) in enumerate([(1, 0.3), (1, 0.8), (-1, 0.3), (-1, 0.8)]):
            value = (sign * maps[i]).flatten().sort(descending=True).values
            removed = sign * maps[i] >= value[round(share * pixels) - 1]
            filled = impute(images[i : i + 1], removed[None])
            grain = np.random.default_rng((5, step)).standard_normal(images.shape[1:], np.float32)
            filled += 0.2 * removed * torch.from_numpy(grain)
            with torch.no_grad():
                chances.append(network(filled).softmax(1)[0, targets[i]].item())
        expected = (chances[2] + chances[3] - chances[0] - chances[1]) / 2
        assert found[i].item() == pytest.approx(expected, abs=1e-7)


def test_turning_a_map_round_turns_the_sign_of_road():
    network, (images, targets) = Smooth(), batch()
    maps = torch.randn(len(images), *SIZE, generator=torch.Generator().manual_seed(9))
    found, turned = (road(network, images, targets, m, noise=0.0) for m in (maps, -maps))
    torch.testing.assert_close(found, -turned)
    assert found.abs().min() > 0


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_the_batch_size_changes_no_score(batch_size):
    network, (images, targets) = Smooth(), batch()
    maps = images[:, 0]
    found = road(network, images, targets, maps, batch_size=batch_size)
    assert network.largest <= batch_size
    torch.testing.assert_close(found, road(network, images, targets, maps))
    alone = [
        road(network, images[i : i + 1], targets[i : i + 1], maps[i : i + 1]) for i in range(4)
    ]
    torch.testing.assert_close(found, torch.cat(alone))


@pytest.mark.parametrize("fractions", [(), (0.0, 0.5), (0.5, 1.0)])
def test_wrong_fractions_raise(fractions):
    images, targets = batch()
    with pytest.raises(ValueError, match="fractions must be"):
        road(Smooth(), images, targets, images[:, 0], fractions=fractions)
