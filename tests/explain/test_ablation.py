import warnings

import pytest
import torch
from tiny import SIZE, Convolutional, Transformer, batch
from torch import nn

from vision_attn.explain.ablation import ablation_cam, score_cam
from vision_attn.explain.maps import normalise, upsample

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam as package
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


def features(network, image):
    kept = []
    handle = network.cam_layer.register_forward_hook(lambda *run: kept.append(run[2]))
    with torch.no_grad():
        network.eval()(image[None])
    handle.remove()
    return network.to_map(kept[0], image.shape[-2:])[0]


def mixed(weights, channels, size=SIZE):
    grid = sum(weight * channel for weight, channel in zip(weights, channels, strict=True))
    return upsample(grid.relu()[None], size)[0]


@pytest.mark.parametrize("kind", [Convolutional, Transformer])
@pytest.mark.parametrize("count", [None, 3])
def test_score_cam_equals_the_textbook(kind, count):
    network, (images, targets) = kind(), batch()
    maps = score_cam(network, images, targets, channels=count, batch_size=5)
    for one, image, target in zip(maps, images, targets, strict=True):
        channels = features(network, image)
        tried = channels.flatten(1).var(1).argsort(descending=True)[:count]
        masks = normalise(upsample(channels[tried], SIZE))
        with torch.no_grad():
            scores = [network(image[None] * mask)[0, target] for mask in masks]
        weights = torch.zeros(len(channels)).double()
        weights[tried] = torch.stack(scores).softmax(0)
        torch.testing.assert_close(one, mixed(weights, channels))
    assert maps.any()


def test_dead_channels_share_one_forward_pass():
    network, (images, targets) = Convolutional(), batch()
    network.second.bias.data[2:] = -1e6
    expected = score_cam(network, images, targets)
    channels = features(network, images[0])
    with torch.no_grad():
        masks = normalise(upsample(channels, SIZE))
        scores = network(images[0] * masks[:, None])[:, targets[0]]
    torch.testing.assert_close(expected[0], mixed(scores.softmax(0), channels))
    alive = [features(network, image).flatten(1).any(1).sum().item() for image in images]
    assert max(alive) <= 2
    seen = []
    network.register_forward_hook(lambda *run: seen.append(len(run[2])))
    score_cam(network, images, targets)
    assert sum(seen) == 4 + 4 * (max(alive) + 1)


@pytest.mark.parametrize("kind", [Convolutional, Transformer])
def test_ablation_cam_equals_the_textbook(kind):
    network, (images, targets) = kind(), batch()
    maps = ablation_cam(network, images, targets, batch_size=7)
    for one, image, target in zip(maps, images, targets, strict=True):
        channels = features(network, image)
        with torch.no_grad():
            full = network(image[None])[0, target]
            left = torch.stack(
                [without(network, image, target, index) for index in range(len(channels))]
            )
        torch.testing.assert_close(one, mixed((full - left) / full.abs(), channels))
    assert maps.any()
    assert not network.cam_layer._forward_hooks


def without(network, image, target, channel):
    """Run the network with one channel set to 0, but in prefix tokens, by hand."""

    def ablate(module, inputs, output):
        output = output.clone()
        if output.ndim == 4:
            output[:, channel] = 0
        else:
            output[:, network.prefix :, channel] = 0
        return output

    handle = network.cam_layer.register_forward_hook(ablate)
    logits = network(image[None])
    handle.remove()
    return logits[0, target]


@pytest.mark.parametrize(
    ("method", "theirs"), [(score_cam, package.ScoreCAM), (ablation_cam, package.AblationCAM)]
)
def test_maps_equal_those_of_the_grad_cam_package(method, theirs, capsys):
    network, (images, _) = Convolutional().float(), batch(size=(18, 26))
    network.head[0].bias.data += 20  # positive scores, where signs agree
    network.last = network.cam_layer = nn.Softplus()  # no dead channel, which it divides by 1e-8
    if method is ablation_cam:
        network.last = network.cam_layer = nn.ReLU()
    images = images.float()
    targets = network.eval()(images).argmax(1)
    with theirs(network, [network.cam_layer]) as explainer:
        expected = explainer(images, [ClassifierOutputTarget(target) for target in targets])
    found = normalise(method(network, images, targets))
    for one, other in zip(found, torch.from_numpy(expected), strict=True):
        assert torch.corrcoef(torch.stack([one, other]).flatten(1))[0, 1] > 0.999
    capsys.readouterr()


def test_impossible_settings_raise():
    with pytest.raises(ValueError, match="channels must be at least 1, or None for all, got 0"):
        score_cam(Convolutional(), *batch(), channels=0)


@pytest.mark.parametrize("method", [score_cam, ablation_cam])
def test_inference_mode_does_not_matter(method):
    network, (images, targets) = Convolutional(), batch()
    with torch.inference_mode():
        maps = method(network, images.clone(), targets.clone())
    assert torch.equal(maps, method(network, images, targets))
