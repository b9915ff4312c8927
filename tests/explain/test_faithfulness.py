import pytest
import torch
from scipy.ndimage import gaussian_filter
from tiny import CHANNELS, OUTPUTS, Convolutional, batch
from torch import nn

from vision_attn.explain.faithfulness import (
    area,
    blurred,
    deletion,
    insertion,
    mean_colour,
    rank,
)
from vision_attn.explain.maps import upsample

SIZE = (6, 10)


class Share(nn.Module):
    """Give class 1 the probability that is the share of pixels equal to 1 within `mask`."""

    def __init__(self, mask):
        super().__init__()
        self.mask, self.largest = mask, 0

    def forward(self, images, tape=None):
        self.largest = max(self.largest, len(images))
        share = (images[:, 0] * self.mask).sum((1, 2)) / self.mask.sum()
        return torch.stack([1 - share, share], 1).log()


def ones_and_mask():
    mask = torch.zeros(4, 5)
    mask[1, :] = 1
    return torch.ones(3, 1, 4, 5), mask, torch.ones(3, dtype=int)


def black(images):
    return torch.zeros_like(images)


def test_deletion_and_insertion_by_hand():
    images, mask, targets = ones_and_mask()
    best, worst = mask.expand(3, -1, -1), 1 - mask.expand(3, -1, -1)
    network = Share(mask)
    # 4 steps of 5 pixels. Best first: 1, 0, 0, 0, 0; worst: 1, 1, 1, 1, 0.
    for maps, deleted in [(best, 0.125), (worst, 0.875)]:
        found = deletion(network, images, targets, maps, fill=black, steps=4)
        torch.testing.assert_close(found, torch.full((3,), deleted))
        found = insertion(network, images, targets, maps, fill=black, steps=4)
        torch.testing.assert_close(found, torch.full((3,), 1 - deleted))


def test_steps_follow_pixels_and_not_channel_values():
    images, mask, targets = ones_and_mask()
    seen = []

    def watch(images, tape=None):
        seen.append(images)
        return torch.zeros(len(images), 2)

    network = Share(mask)
    network.forward = watch
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(4))
    deletion(network, images.expand(-1, 3, -1, -1), targets, maps, fill=black, steps=7)
    inputs = torch.cat(seen).view(8, 3, 3, 20)
    assert torch.equal(inputs, inputs[:, :, :1].expand_as(inputs))
    gone = (inputs[:, :, 0] == 0).sum(-1)
    assert gone[:, 0].tolist() == [-(-20 * step // 7) for step in range(8)]
    for step in range(1, 7):
        left, lost = inputs[step, 0, 0] == 1, inputs[step, 0, 0] == 0
        assert maps[0].flatten()[lost].min() > maps[0].flatten()[left].max()


@pytest.mark.parametrize("metric", [deletion, insertion])
def test_the_number_does_not_depend_on_the_batch(metric):
    network, (images, targets) = Convolutional(), batch(5)
    maps = upsample(torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(1)), SIZE)
    expected = metric(network, images, targets, maps, steps=6)
    for batch_size in (1, 4, 100):
        found = metric(network, images, targets, maps, steps=6, batch_size=batch_size)
        torch.testing.assert_close(found, expected)
    alone = [
        metric(network, images[i, None], targets[i, None], maps[i, None], steps=6) for i in range(5)
    ]
    torch.testing.assert_close(torch.cat(alone), expected)


def test_no_more_than_the_batch_size_is_run_at_once():
    images, mask, targets = ones_and_mask()
    network = Share(mask)
    deletion(network, images, targets, torch.rand(3, 4, 5), steps=9, batch_size=7)
    assert network.largest == 7


def test_ties_fall_in_one_scattered_order():
    maps = torch.zeros(2, 9, 13)
    maps[1, 2, 3] = 1
    ranks = rank(maps)
    for one in ranks:
        assert torch.equal(one.flatten().sort().values, torch.arange(9 * 13))
    assert ranks[1, 2, 3] == 0
    first = (ranks[0] < 39).float()  # a third of the pixels, about a third of every third
    for part in (first[:3], first[3:6], first[6:]):
        assert 0.15 < part.mean() < 0.55
    others = torch.ones(9, 13, dtype=bool)
    others[2, 3] = False
    assert torch.equal(ranks[0][others].argsort(), ranks[1][others].argsort())


def test_the_blur_is_a_gaussian():
    images, _ = batch(2, size=(20, 30))
    expected = gaussian_filter(images.numpy(), (0, 0, 1, 1), mode="mirror", radius=(0, 0, 3, 3))
    torch.testing.assert_close(blurred(images), torch.from_numpy(expected))


def test_the_mean_colour_is_that_of_each_image():
    images, _ = batch()
    expected = [[[image[c].mean()] for c in range(CHANNELS)] for image in images]
    filled = mean_colour(images)
    torch.testing.assert_close(filled[:, :, 3, 5], torch.tensor(expected)[:, :, 0].double())
    assert filled.shape == images.shape


def test_the_area_is_that_under_straight_lines():
    torch.testing.assert_close(
        area(torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 0.0]])), torch.tensor([0.5, 0.75])
    )


@pytest.mark.parametrize(
    ("maps", "settings", "message"),
    [
        (torch.zeros(4, 3, 5), {}, r"maps must have shape \(4, 6, 10\), got \(4, 3, 5\)"),
        (torch.zeros(4, *SIZE), {"steps": 0}, "steps must be"),
        (torch.zeros(4, *SIZE), {"batch_size": 0}, "batch_size must be"),
    ],
)
def test_impossible_settings_raise(maps, settings, message):
    images, targets = batch()
    with pytest.raises(ValueError, match=message):
        deletion(Convolutional(), images, targets % OUTPUTS, maps, **settings)
