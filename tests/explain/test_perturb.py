from functools import partial

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from toys import CHANNELS, SIZE, Linear, Smooth, batch

from vision_attn.explain.perturb import SoftMasks, occlusion, rise

EXPLAINERS = [occlusion, partial(rise, samples=61)]


class Corner(nn.Module):
    """Two classes; the first has the logit of the mean of the top left quarter."""

    def forward(self, images, tape=None):
        score = images[:, :, : SIZE[0] // 2, : SIZE[1] // 2].mean((1, 2, 3))
        return torch.stack([score, -score], 1)


def test_single_pixel_occlusion_of_a_linear_network_is_its_product_with_the_weights():
    network, (images, targets) = Linear(), batch()
    found = occlusion(network, images, targets, window=1, stride=1, fill=0.3)
    expected = ((images - 0.3) * network.weight[targets]).sum(1)
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 4), (7, 5), (2, 1)])
def test_occlusion_equals_a_loop_over_windows(window, stride):
    network, (images, targets) = Smooth().eval(), batch(2)
    places = [
        sorted({min(start, side - window) for start in range(0, side, stride)}) for side in SIZE
    ]
    for image, target, found in zip(
        images, targets, occlusion(network, images, targets, window=window, stride=stride)
    ):
        drops, counts = torch.zeros(2, *SIZE, dtype=torch.float64)
        for top in places[0]:
            for left in places[1]:
                covered = image.clone()
                covered[:, top : top + window, left : left + window] = 0
                with torch.no_grad():
                    logits = network(torch.stack([image, covered]))[:, target]
                drops[top : top + window, left : left + window] += logits[0] - logits[1]
                counts[top : top + window, left : left + window] += 1
        assert counts.min() > 0
        torch.testing.assert_close(found, drops / counts)


def test_a_window_shows_the_image_given_as_fill():
    network, (images, targets) = Linear(), batch()
    maps = occlusion(network, images, targets, fill=images)
    torch.testing.assert_close(maps, torch.zeros_like(maps))


@pytest.mark.parametrize("settings", [{"window": 8}, {"window": 3, "stride": 4}, {"stride": 0}])
def test_windows_that_cannot_cover_the_image_raise(settings):
    with pytest.raises(ValueError, match="stride <= window"):
        occlusion(Linear(), *batch(), **settings)


def test_rise_equals_a_loop_over_its_masks():
    network, (images, targets) = Smooth().eval(), batch(2)
    masks = SoftMasks(23, 3, 0.4, SIZE, seed=2)(torch.arange(23)).double()
    expected = torch.zeros(2, *SIZE, dtype=torch.float64)
    for i, (image, target) in enumerate(zip(images, targets)):
        for mask in masks:
            with torch.no_grad():
                logits = network((image * mask + 0.7 * (1 - mask))[None])
            expected[i] += logits.softmax(1)[0, target] * mask / 23 / 0.4
    found = rise(network, images, targets, samples=23, grid=3, keep=0.4, fill=0.7, seed=2)
    torch.testing.assert_close(found, expected)


def test_rise_with_everything_shown_is_the_probability_everywhere():
    network, (images, targets) = Smooth().eval(), batch()
    found = rise(network, images, targets, samples=3, keep=1.0)
    with torch.no_grad():
        chances = network(images).softmax(1)[torch.arange(len(images)), targets]
    torch.testing.assert_close(found, chances[:, None, None].expand_as(found))


def test_rise_converges_to_where_the_evidence_is():
    images = torch.full((1, CHANNELS, *SIZE), 3.0, dtype=torch.float64)
    found = rise(Corner(), images, torch.tensor([0]), samples=2000)[0]
    again = rise(Corner(), images, torch.tensor([0]), samples=2000, seed=1)[0]
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[: SIZE[0] // 2, : SIZE[1] // 2] = True
    assert found[inside].mean() > found[~inside].mean() + 0.02
    assert (found - again).abs().max() < 0.06
    assert (
        rise(Corner(), images, torch.tensor([1]), samples=200)[0][inside].mean()
        < rise(Corner(), images, torch.tensor([1]), samples=200)[0][~inside].mean()
    )


def test_soft_masks_show_every_pixel_equally_often():
    masks = SoftMasks(4000, 5, 0.3, SIZE, seed=0)(torch.arange(4000))
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    # One mask's pixel has a standard deviation of at most 0.46, so five standard errors are 0.036.
    torch.testing.assert_close(masks.mean(0), torch.full(SIZE, 0.3), atol=0.036, rtol=0)


def test_soft_masks_are_enlarged_as_opencv_does_and_cut_at_their_shifts():
    masks = SoftMasks(5, 3, 0.5, SIZE, seed=4)
    assert masks.cell == 3
    assert masks.patterns.shape == (5, 1, 4, 3)
    for i, found in enumerate(masks(torch.arange(5))):
        top, left = masks.shifts[:, i].tolist()
        large = cv2.resize(masks.patterns[i, 0].float().numpy(), (12, 15))
        np.testing.assert_allclose(
            found, large[top : top + SIZE[0], left : left + SIZE[1]], atol=1e-6
        )


@pytest.mark.parametrize("keep", [0.0, 1.1])
def test_an_impossible_share_raises(keep):
    with pytest.raises(ValueError, match="keep must be in"):
        rise(Linear(), *batch(), keep=keep)


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("batch_size", [1, 7, 10000])
def test_the_batch_size_changes_no_map(explainer, batch_size):
    network, (images, targets) = Smooth(), batch()
    found = explainer(network, images, targets, batch_size=batch_size)
    assert network.largest <= batch_size
    torch.testing.assert_close(found, explainer(network, images, targets))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_an_image_alone_has_the_map_it_has_in_a_batch(explainer):
    network, (images, targets) = Smooth(), batch()
    together = explainer(network, images, targets)
    alone = [explainer(network, images[i : i + 1], targets[i : i + 1]) for i in range(len(images))]
    torch.testing.assert_close(together, torch.cat(alone))
    assert together.shape == (len(images), *SIZE)


def test_rise_costs_one_pass_a_sample_and_image():
    network, (images, targets) = Smooth(), batch()
    rise(network, images, targets, samples=29)
    assert network.seen == 29 * len(images)


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_an_explainer_leaves_no_trace(explainer):
    network, (images, targets) = Smooth().train(), batch()
    images.requires_grad_()
    random = torch.get_rng_state()
    maps = explainer(network, images, targets)
    assert torch.equal(maps, explainer(network, images, targets))
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert not maps.requires_grad
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_inference_mode_does_not_matter(explainer):
    network, (images, targets) = Smooth(), batch()
    with torch.inference_mode():
        maps = explainer(network, images.clone(), targets)
    assert torch.equal(maps, explainer(network, images, targets))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_half_precision_gives_float32_maps(explainer):
    images, targets = batch()
    maps = explainer(Smooth().bfloat16(), images.bfloat16(), targets)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("targets", [[0, 1, 2], [0, 1, 2, 5], [0, 1, 2, -1]])
def test_wrong_targets_raise(explainer, targets):
    with pytest.raises(ValueError, match="targets must"):
        explainer(Smooth(), batch()[0], torch.tensor(targets))
