"""A vector that moves all patches has the sum of their gradients for its own."""

import pytest
import torch
import torch.nn.functional as F
from foreign import SEQUENCES, SQUARE, batch, sequence, torchvision_vit

from vision_attn.explain import adapt, cam
from vision_attn.explain.cam import class_maps, grad_cam_classes
from vision_attn.explain.shifting import Shifting
from vision_attn.explain.weighing import by_mean_gradient

PATCHES = torch.tensor([1, 2, 3, 5])


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def read(tokens, bias=None, *, in_place=False):
    if in_place:
        tokens.mul_(2)
    layer = drawn(7, 4)
    return (F.linear(tokens, layer, bias).square() + F.linear(tokens, layer.abs())).sum()


@pytest.mark.parametrize("settings", [{}, {"bias": drawn(7)}, {"in_place": True}])
def test_the_sum_over_patches_is_that_of_their_gradients(settings):
    tokens = drawn(3, 6, 4)
    with Shifting() as shifting:
        total = read(shifting.move(tokens, PATCHES), **settings)
        (found,) = torch.autograd.grad(total, shifting.shift)
    leaf = tokens.clone().requires_grad_()
    expected_total = read(leaf.clone(), **settings)
    (gradient,) = torch.autograd.grad(expected_total, leaf)
    torch.testing.assert_close(total, expected_total)
    torch.testing.assert_close(found, gradient[:, PATCHES].sum(1, keepdim=True))


def test_the_gradient_of_no_single_patch_is_multiplied():
    rows = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.name() in ("aten::mm", "aten::addmm"):
                rows.append(args[-2].shape[0])
            return func(*args, **(kwargs or {}))

    with Shifting() as shifting:
        total = F.linear(shifting.move(drawn(3, 6, 4), PATCHES), drawn(7, 4)).square().sum()
    with Watch():
        torch.autograd.grad(total, shifting.shift)
    assert rows
    assert max(rows) <= 4  # a row an image, or an entry of the weight, and none a patch
    assert 18 not in rows


def networks():
    for kind in SEQUENCES:
        yield adapt(sequence(kind, SQUARE))
    yield adapt(torchvision_vit())


def test_grad_cam_of_several_classes_is_that_of_whole_gradients(monkeypatch):
    made, from_sums = [], cam._from_sums
    monkeypatch.setattr(cam, "_from_sums", lambda *run: made.append(from_sums(*run)) or made[-1])
    images, _ = batch(SQUARE)
    classes = torch.tensor([[0, 3], [1, 1], [4, 2]])
    for network in networks():
        found = grad_cam_classes(network, images, classes)
        expected = class_maps(by_mean_gradient, network, images, classes)
        torch.testing.assert_close(found, expected)
    assert len(made) > 10
    assert all(maps is not None for maps in made)


def test_a_score_that_hangs_on_no_patch_is_explained_the_long_way():
    network = adapt(sequence("class token", SQUARE))
    network.network.head.weight.data[2] = 0
    images, _ = batch(SQUARE)
    maps = grad_cam_classes(network, images, torch.tensor([[2, 0]]).expand(3, -1))
    assert not maps[:, 0].any()
    assert maps[:, 1].any()
