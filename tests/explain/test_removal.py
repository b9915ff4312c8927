import numpy as np
import pytest
import torch
from torch import nn
from toys import CHANNELS, SIZE, Linear, Smooth, batch

from vision_attn.explain.faithfulness import mean_colour
from vision_attn.explain.gradients import input_x_gradient
from vision_attn.explain.removal import (
    correlation,
    negative_perturbation,
    positive_perturbation,
    sensitivity_n,
)

METRICS = [positive_perturbation, negative_perturbation, sensitivity_n]


class Enough(nn.Module):
    """Class 0 wins while the sum of the first channel is at least 5.5."""

    def forward(self, images, tape=None):
        total = images[:, 0].sum((1, 2))
        return torch.stack([total - 5.5, torch.zeros_like(total)], 1)


def minus_three(images):
    return torch.full_like(images, -3.0)


def ones_and_maps(count=1):
    """Give white images of 2 x 5 pixels, and maps that name pixels in a shuffled order."""
    generator = torch.Generator().manual_seed(7)
    maps = [torch.randperm(10, generator=generator).view(2, 5).float() for _ in range(count)]
    return torch.ones(count, CHANNELS, 2, 5), torch.stack(maps)


@pytest.mark.parametrize("metric", [positive_perturbation, negative_perturbation])
def test_a_prediction_that_holds_to_forty_percent_scores_as_counted_by_hand(metric):
    images, maps = ones_and_maps()
    found = metric(Enough(), images, torch.tensor([0]), maps)
    # It holds at 10, 20, 30 and 40 %, not from 50 % on: 0.3 + a triangle of 0.05, over 0.8.
    assert found.item() == pytest.approx(0.35 / 0.8)


def test_only_the_pixels_that_matter_make_the_prediction_fall():
    images = torch.zeros(1, CHANNELS, 2, 5)
    images[0, :, 0, :3] = 2.0
    good, targets = images[:, 0].clone(), torch.tensor([0])
    # Removing one of three twos leaves 4 < 5.5 at once; from the other end it falls at 80 %.
    assert positive_perturbation(Enough(), images, targets, good).item() == 0
    found = negative_perturbation(Enough(), images, targets, good)
    assert found.item() == pytest.approx((0.6 + 0.05) / 0.8)


def test_the_fractions_removed_are_fractions_of_pixels_with_all_their_channels():
    seen = []

    class Watch(Enough):
        def forward(self, images, tape=None):
            seen.append(images)
            return super().forward(images)

    images, maps = ones_and_maps()
    positive_perturbation(
        Watch(), images, torch.tensor([0]), maps, fractions=(0.2, 0.7), fill=minus_three
    )
    for removed, kept in zip(torch.cat(seen), [8, 3]):
        assert (removed == removed[0]).all()
        assert ((removed[0] == -3.0) == (maps[0] >= kept)).all()


@pytest.mark.parametrize("fractions", [(0.5,), (0.5, 0.5), (0.2, 1.2), (-0.1, 0.4), (0.4, 0.2)])
def test_wrong_fractions_raise(fractions):
    images, maps = ones_and_maps()
    with pytest.raises(ValueError, match="fractions must be"):
        positive_perturbation(Enough(), images, torch.tensor([0]), maps, fractions=fractions)


def test_input_x_gradient_is_perfect_for_a_linear_network():
    network, (images, targets) = Linear(), batch()
    maps = input_x_gradient(network, images, targets)
    for sign in (1, -2):
        found = sensitivity_n(network, images, targets, sign * maps)
        torch.testing.assert_close(found, torch.full((len(images),), float(np.sign(sign))))


def test_a_constant_map_names_nothing():
    network, (images, targets) = Linear(), batch()
    maps = torch.full((len(images), *SIZE), 0.1)
    assert sensitivity_n(network, images, targets, maps).tolist() == [0] * len(images)


def test_sensitivity_n_equals_a_loop_over_sets():
    network, (images, targets) = Smooth().eval(), batch()
    maps = torch.randn(len(images), *SIZE, generator=torch.Generator().manual_seed(1))
    found = sensitivity_n(
        network, images, targets, maps, share=0.3, samples=11, fill=mean_colour, seed=6
    )
    pixels = SIZE[0] * SIZE[1]
    for i in range(len(images)):
        named, lost = [], []
        for sample in range(11):
            order = np.random.default_rng((6, sample)).permutation(pixels)
            removed = torch.from_numpy(order < round(0.3 * pixels)).view(SIZE)
            changed = images[i].clone()
            changed[:, removed] = images[i].mean((1, 2))[:, None]
            with torch.no_grad():
                logits = network(torch.stack([images[i], changed]))[:, targets[i]]
            named.append(maps[i][removed].sum().item())
            lost.append((logits[0] - logits[1]).item())
        assert found[i].item() == pytest.approx(np.corrcoef(named, lost)[0, 1], abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_empty_or_a_full_set_raises(share):
    images, targets = batch()
    with pytest.raises(ValueError, match="share must be in"):
        sensitivity_n(Linear(), images, targets, images[:, 0], share=share)


def test_correlation_equals_that_of_numpy_and_is_0_for_constants():
    first, second = torch.randn(2, 3, 17, generator=torch.Generator().manual_seed(2))
    second[2] = 0.1
    found = correlation(first, second)
    expected = [np.corrcoef(first[i], second[i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(found, [*expected, 0], atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_the_batch_size_changes_no_score(metric, batch_size):
    network, (images, targets) = Smooth(), batch()
    maps = input_x_gradient(network, images, targets)
    network.largest = 0
    found = metric(network, images, targets, maps, batch_size=batch_size)
    assert network.largest <= batch_size
    torch.testing.assert_close(found, metric(network, images, targets, maps))


@pytest.mark.parametrize("metric", METRICS)
def test_an_image_alone_scores_as_in_a_batch(metric):
    network, (images, targets) = Smooth(), batch(7)
    maps = input_x_gradient(network, images, targets)
    together = metric(network, images, targets, maps)
    parts = zip(images.split(1), targets.split(1), maps.split(1))
    torch.testing.assert_close(together, torch.cat([metric(network, *part) for part in parts]))
    assert together.shape == (7,)


@pytest.mark.parametrize("metric", METRICS)
def test_maps_of_another_size_raise(metric):
    images, targets = batch()
    with pytest.raises(ValueError, match="maps must have shape"):
        metric(Linear(), images, targets, images[:, 0, 1:])
