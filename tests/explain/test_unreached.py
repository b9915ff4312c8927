"""Skipping what no gradient reaches: equal to differentiating everything, with less work."""

import pytest
import torch
from torch import nn

from vision_attn.explain.unreached import SkippingUnreached
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec


def tokens(*shape: int, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


def frozen(dtype=torch.float64, bias: bool = True) -> nn.Module:
    torch.manual_seed(5)
    layers = nn.Linear(6, 9, bias=bias), nn.GELU(), nn.Linear(9, 4, bias=bias)
    return nn.Sequential(*layers).to(dtype).requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "read", [lambda y: y[:, 0], lambda y: y[:, :2], lambda y: y, lambda y: y[:0], lambda y: y[1:]]
)
def test_the_gradient_is_the_same_whatever_is_read(read, bias):
    network, given = frozen(bias=bias), tokens(3, 5, 6)
    (expected,) = torch.autograd.grad(read(network(given)).square().sum(), given)
    with SkippingUnreached():
        output = network(given)
    (found,) = torch.autograd.grad(read(output).square().sum(), given)
    torch.testing.assert_close(found, expected)


def test_only_tokens_that_are_read_are_multiplied(monkeypatch):
    """The products of the backward pass are seen to have one row an image, not one a token."""
    network, given = frozen(), tokens(3, 5, 6)
    with SkippingUnreached():
        total = network(given)[:, 1].sum()
    rows = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "mm" in func.name():
                rows.append(args[0][..., 0].numel())
            return func(*args, **(kwargs or {}))

    with Watch():
        torch.autograd.grad(total, given)
    assert rows == [3, 3]


def test_a_trainable_layer_still_gets_its_gradient():
    network, given = frozen().requires_grad_(True), tokens(2, 5, 6)
    with SkippingUnreached():
        network(given)[:, 0].sum().backward()
    assert network[0].weight.grad.abs().sum() > 0


def test_autocast_and_other_functions_run_as_ever():
    network, given = frozen(torch.float32), tokens(2, 5, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(given)
        with SkippingUnreached():
            found = network(given)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    with SkippingUnreached(), torch.no_grad():
        assert not network(given).requires_grad


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_transformer_has_the_same_gradient_at_its_last_attention(pool):
    torch.manual_seed(1)
    config = ViTConfig(dim=16, depth=2, heads=2, patch_size=4, pool=pool)
    model = config.build(Spec(image_size=(16, 12), names=("a", "b"))).double().eval()
    model.requires_grad_(False)
    given = tokens(2, 3, 16, 12)
    (expected,) = torch.autograd.grad(model(given)[:, 1].sum(), given)
    with SkippingUnreached():
        logits = model(given)
    (found,) = torch.autograd.grad(logits[:, 1].sum(), given)
    torch.testing.assert_close(found, expected)
