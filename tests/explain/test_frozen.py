import pytest
import torch
from tiny import Convolutional, batch
from torch import nn

from vision_attn.explain.cam import grad_cam
from vision_attn.explain.frozen import explained, parts_of


def marked():
    """Build a network whose parts are in different states."""
    network = Convolutional().train()
    network.norm.eval()
    network.first.weight.requires_grad_(False)
    network.second.weight.grad = torch.ones_like(network.second.weight)
    return network


def state(network):
    return {
        "modes": [m.training for m in network.modules()],
        "grads": [p.requires_grad for p in network.parameters()],
        "accumulated": [None if p.grad is None else p.grad.clone() for p in network.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._backward_hooks) for m in network.modules()],
        "buffers": [b.clone() for b in network.buffers()],
        "random": torch.get_rng_state(),
        "enabled": torch.is_grad_enabled(),
    }


def same(first, second):
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


def test_parts_are_listed_once():
    network = marked()
    network.twice, network.none = network.second, None
    found = parts_of(network)
    assert len(found) == len({*found})
    assert {*found} == {*network.modules()}


def test_inside_the_network_is_still():
    network = marked()
    with torch.no_grad(), explained(network):
        assert not any(m.training for m in network.modules())
        assert not any(p.requires_grad for p in network.parameters())
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("enabled", [True, False])
def test_everything_is_put_back(enabled):
    network = marked()
    with torch.set_grad_enabled(enabled):
        before = state(network)
        with explained(network), explained(network):
            torch.rand(5)
            torch.set_grad_enabled(False)
        same(state(network), before)


@pytest.mark.parametrize("error", [IndexError, KeyboardInterrupt])
def test_an_error_passes_through_and_leaves_no_trace(error):
    network = marked()

    def fail(*_):
        raise error("from the caller")

    network.head.forward = fail
    before = state(network)
    with pytest.raises(error, match="from the caller"):
        grad_cam(network, *batch())
    same(state(network), before)


def test_a_call_under_inference_mode_works():
    network, (images, targets) = Convolutional(), batch()
    expected = grad_cam(network, images, targets)
    with torch.inference_mode():
        torch.testing.assert_close(grad_cam(network, images + 0, targets), expected)


def test_a_network_compiled_earlier_is_heard():
    network, (images, targets) = Convolutional(), batch()
    expected = grad_cam(network, images, targets)
    network.compile(backend="eager")
    network.eval()(images)
    assert torch.equal(grad_cam(network, images, targets), expected)


def test_only_modules_can_be_explained():
    with pytest.raises(TypeError, match=r"torch.nn.Module"), explained(lambda images: images):
        pass


def test_a_module_used_twice_gets_its_mode_back():
    shared = nn.Dropout(0.5).eval()
    network = nn.Sequential(shared, nn.Linear(3, 2), shared).train()
    shared.eval()
    with explained(network):
        pass
    assert network.training
    assert not shared.training
