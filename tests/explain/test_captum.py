"""Gradient and perturbation maps beside captum's, an implementation written by others."""

import pytest
import torch
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from tiny import Convolutional
from tiny import batch as pictures
from toys import CHANNELS, SIZE, Smooth, batch

from vision_attn.explain.cam import grad_cam
from vision_attn.explain.gradients import (
    input_x_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from vision_attn.explain.maps import upsample
from vision_attn.explain.perturb import occlusion


@pytest.fixture
def case():
    images, targets = batch()
    return Smooth().eval(), images.requires_grad_(), targets


def test_saliency(case):
    network, images, targets = case
    expected = Saliency(network).attribute(images, target=targets, abs=True).amax(1)
    torch.testing.assert_close(saliency(*case), expected)


def test_input_x_gradient(case):
    network, images, targets = case
    expected = InputXGradient(network).attribute(images, target=targets).sum(1)
    torch.testing.assert_close(input_x_gradient(*case), expected.detach())


def test_integrated_gradients(case):
    network, images, targets = case
    captum = IntegratedGradients(network)
    expected = captum.attribute(images, baselines=0.25, target=targets, n_steps=24).sum(1)
    found = integrated_gradients(*case, baseline=0.25, steps=24)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-8)


def test_smoothgrad_of_little_noise(case):
    network, images, targets = case
    captum = NoiseTunnel(Saliency(network))  # another random generator: compared where it dies out
    expected = captum.attribute(images, nt_samples=3, stdevs=1e-9, target=targets, abs=False)
    found = smoothgrad(*case, samples=3, noise=1e-9)
    torch.testing.assert_close(found, expected.abs().amax(1), rtol=0, atol=1e-6)


def test_occlusion(case):
    network, images, targets = case
    window = (CHANNELS, 3, 3)
    captum = Occlusion(network).attribute(
        images, window, strides=(CHANNELS, 2, 2), baselines=0, target=targets
    )
    # Captum divides by how often a pixel was covered, as we do, and repeats each channel.
    assert SIZE[0] % 2 == SIZE[1] % 2 == 1  # so that both end at the border
    found = occlusion(*case, window=3, stride=2).float()  # captum sums in float32
    torch.testing.assert_close(found, captum[:, 0].detach().float())


def test_single_pixels(case):
    network, images, targets = case
    pixels = torch.arange(SIZE[0] * SIZE[1]).view(1, 1, *SIZE).expand(1, CHANNELS, -1, -1)
    captum = FeatureAblation(network).attribute(images, target=targets, feature_mask=pixels)
    found = occlusion(*case, window=1, stride=1)
    torch.testing.assert_close(found, captum[:, 0].detach())


def test_grad_cam():
    network, (images, targets) = Convolutional().eval(), pictures(size=(20, 30))
    captum = LayerGradCam(network, network.cam_layer)
    expected = captum.attribute(images, target=targets, relu_attributions=True)[:, 0]
    found = grad_cam(network, images, targets)
    torch.testing.assert_close(found, upsample(expected.detach(), (20, 30)))
