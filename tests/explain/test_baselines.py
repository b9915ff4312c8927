import torch
from tiny import Convolutional, batch

from vision_attn.explain.baselines import centre_map, random_map


def test_random_maps_differ_from_image_to_image_and_by_seed_only():
    network, (images, targets) = Convolutional(), batch(size=(18, 30))
    state = torch.get_rng_state()
    maps = random_map(network, images, targets)
    assert maps.shape == (4, 18, 30)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(maps, random_map(network, images, targets))
    assert not torch.allclose(maps[0], maps[1], atol=0.1)
    assert not torch.allclose(maps, random_map(network, images, targets, seed=1), atol=0.1)
    alone = [random_map(network, i[None], t[None]) for i, t in zip(images, targets, strict=True)]
    assert torch.equal(maps, torch.cat(alone))


def test_the_centre_is_a_gaussian_of_the_image():
    network, (images, targets) = Convolutional(), batch(size=(17, 31))
    maps = centre_map(network, images, targets)
    assert maps[2].argmax() == 8 * 31 + 15
    # The standard deviation is a quarter of a side: of 16 rows between edge pixels, 4.
    expected = torch.exp(torch.tensor(-0.5))
    torch.testing.assert_close(maps[0, 12, 15], expected)
    torch.testing.assert_close(maps[0], maps[0].flip(0, 1))
