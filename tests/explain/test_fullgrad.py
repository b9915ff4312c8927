import warnings

import pytest
import torch
from tiny import Convolutional, Transformer, batch

from vision_attn.explain.fullgrad import contributions, full_grad
from vision_attn.explain.maps import normalise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_grad_cam import FullGrad
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


def trained_norm(network):
    """Give the batch norm statistics that a training would leave."""
    generator = torch.Generator().manual_seed(29)
    for values in (network.norm.running_mean, network.norm.weight.data, network.norm.bias.data):
        values.copy_(torch.randn(values.shape, generator=generator))
    return network


def test_contributions_add_up_to_the_logit():
    network, (images, targets) = trained_norm(Convolutional()), batch()
    parts = contributions(network, images, targets)
    assert [part.shape[1] for part in parts] == [3, 13, 13, 11]
    total = sum(part.sum((1, 2, 3)) for part in parts) + network.head[0].bias[targets]
    logits = network.eval()(images)[range(4), targets]
    torch.testing.assert_close(total, logits)


def test_maps_equal_those_of_the_grad_cam_package():
    network, (images, targets) = trained_norm(Convolutional()).float(), batch(size=(18, 26))
    images = images.float()
    network.head[0].weight.data *= 1000  # the package adds 1e-7 to what it divides by
    with FullGrad(network, []) as explainer:
        expected = explainer(images, [ClassifierOutputTarget(target) for target in targets])
    found = normalise(full_grad(network, images, targets))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_no_gradient_of_the_caller_is_lost():
    network, (images, targets) = Convolutional(), batch()
    network.second.weight.grad = torch.ones_like(network.second.weight)
    full_grad(network, images, targets)
    assert network.second.weight.grad.all()


def test_other_norms_are_refused_by_name():
    with pytest.raises(ValueError, match=r"LayerNorm; use integrated_gradients"):
        full_grad(Transformer(), *batch())
