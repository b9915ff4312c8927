import warnings

import numpy as np
import pytest
import torch
from tiny import OUTPUTS, SIZE, Convolutional, Transformer, batch
from torch import nn

from vision_attn.explain import cam, methods, weighing
from vision_attn.explain.hearing import hear
from vision_attn.explain.maps import normalise, upsample

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam as package
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

METHODS = [
    cam.grad_cam,
    cam.grad_cam_plus_plus,
    cam.hires_cam,
    cam.layer_cam,
    cam.xgrad_cam,
    cam.eigen_cam,
]
BIG = (18, 26)


def features(network, images, targets):
    """Keep activation and gradient of the layer by torch's own means: a graph of everything."""
    network.eval()
    kept = []
    handle = network.cam_layer.register_forward_hook(lambda *args: kept.append(args[2]))
    logits = network(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[range(len(images)), targets].sum(), kept)
    size = images.shape[-2:]
    return network.to_map(kept[0], size).detach(), network.to_map(gradient, size)


def upsampled(grid, size=SIZE):
    return nn.functional.interpolate(grid[None, None], size=size, mode="bilinear")[0, 0]


def textbook(method, activation, gradient):
    """Loop over channels of one image, as the papers sum over them."""
    total = torch.zeros(activation.shape[1:]).double()
    for a, g in zip(activation, gradient, strict=True):
        if method is cam.grad_cam:
            total += g.mean() * a
        elif method is cam.grad_cam_plus_plus:
            alpha = g**2 / (2 * g**2 + a.sum() * g**3)
            total += (alpha * g.relu()).nan_to_num().sum() * a
        elif method is cam.hires_cam:
            total += g * a
        elif method is cam.layer_cam:
            total += g.relu() * a
        elif a.sum():
            total += (a / a.sum() * g).sum() * a
    return total if method in (cam.hires_cam, cam.xgrad_cam) else total.relu()


@pytest.mark.parametrize("method", METHODS[:-1])
@pytest.mark.parametrize("kind", [Convolutional, Transformer])
def test_maps_equal_the_textbook(method, kind):
    network, (images, targets) = kind(), batch()
    maps = method(network, images, targets)
    for one, a, g in zip(maps, *features(network, images, targets), strict=True):
        torch.testing.assert_close(one, upsampled(textbook(method, a, g)))
    assert maps.any()


@pytest.mark.parametrize("kind", [Convolutional, Transformer])
def test_eigen_cam_is_the_first_principal_component(kind):
    network, (images, targets) = kind(), batch()
    maps = cam.eigen_cam(network, images, targets)
    for one, a in zip(maps, features(network, images, targets)[0], strict=True):
        points = a.flatten(1).T.numpy()
        points = points - points.mean(0)
        left, values, _ = np.linalg.svd(points, full_matrices=False)
        component = left[:, 0] * values[0]
        if kind is Convolutional:
            component *= np.sign(np.corrcoef(component, points.sum(1))[0, 1])
        else:  # a layer norm makes all sums 0
            component *= np.sign((component**3).sum())
        expected = upsampled(torch.from_numpy(component).view(a.shape[1:]))
        torch.testing.assert_close(one, expected)


def test_eigen_cam_takes_the_smaller_gram_matrix():
    wide = torch.randn(2, 31, 3, 5, generator=torch.Generator().manual_seed(1)).double()
    narrow = torch.nn.functional.pad(wide[:, :11], (0, 0, 0, 0, 0, 20))
    found = weighing.principal_component(wide[:, :11])
    torch.testing.assert_close(found, weighing.principal_component(narrow))


@pytest.mark.parametrize(
    ("weigh", "theirs"),
    [
        (weighing.by_mean_gradient, package.GradCAM),
        (weighing.by_alpha, package.GradCAMPlusPlus),
        (weighing.by_gradient, package.HiResCAM),
        (weighing.by_positive_gradient, package.LayerCAM),
        (weighing.by_share_of_activation, package.XGradCAM),
        (lambda activation, _: weighing.principal_component(activation), package.EigenCAM),
    ],
)
def test_maps_equal_those_of_the_grad_cam_package(weigh, theirs):
    network, (images, targets) = Convolutional().float(), batch(size=BIG)
    images = images.float()
    network.head[0].weight.data *= 1000  # the package adds 1e-6 to a denominator of Grad-CAM++
    with theirs(network, [network.cam_layer]) as explainer:
        expected = explainer(images, [ClassifierOutputTarget(t) for t in targets])
    # The package takes the positive part and scales it on the grid, and once more when upsampled.
    grids = normalise(weigh(*features(network, images, targets)).relu())
    found = normalise(upsample(grids, BIG))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_cam_weights_by_the_classifier_itself():
    network, (images, targets) = Convolutional(), batch()
    activation, _ = features(network, images, targets)
    maps = cam.cam(network, images, targets)
    for one, a, target in zip(maps, activation, targets, strict=True):
        weights = network.head[0].weight[target].detach()
        torch.testing.assert_close(one, upsampled((weights[:, None, None] * a).sum(0)))


@pytest.mark.parametrize(
    "network", [Convolutional(linear=False), Transformer(), Transformer(0, "mean")]
)
def test_cam_refuses_another_head(network):
    with pytest.raises(ValueError, match=r"linear classifier of the average.*use grad_cam"):
        cam.cam(network, *batch())


@pytest.mark.parametrize("method", methods.CLASS_MAPS)
@pytest.mark.parametrize("kind", [Convolutional, Transformer])
def test_several_classes_equal_one_by_one_from_one_forward_pass(kind, method):
    network, (images, _) = kind(), batch()
    classes = torch.tensor([[0, 3, 5], [1, 2, 6], [5, 5, 0], [2, 1, 0]])
    expected = [methods.METHODS[method](network, images, c) for c in classes.unbind(1)]
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    maps = methods.CLASS_MAPS[method](network, images, classes)
    assert len(calls) == 1
    torch.testing.assert_close(maps, torch.stack(expected, 1), rtol=1e-9, atol=1e-13)


def test_more_classes_than_run_backwards_at_once(monkeypatch):
    network, (images, _) = Transformer(), batch()
    classes = torch.arange(7).expand(4, -1)
    expected = cam.grad_cam_classes(network, images, classes)
    monkeypatch.setattr(cam, "AT_ONCE", 3)  # two times three, and one alone
    maps = cam.grad_cam_classes(network, images, classes)
    torch.testing.assert_close(maps, expected, rtol=1e-9, atol=1e-13)


class Deciding(torch.autograd.Function):
    """Twice what it is given, by a backward pass that looks at the values of the gradient."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient if gradient.any() else gradient


def test_classes_go_backwards_one_by_one_where_they_must():
    network, (images, _) = Convolutional(), batch()
    classes = torch.tensor([[0, 3], [1, 2], [5, 5], [2, 1]])
    expected = cam.grad_cam_classes(network, images, classes)
    network.head.register_forward_hook(lambda module, given, output: Deciding.apply(output))
    maps = cam.grad_cam_classes(network, images, classes)
    torch.testing.assert_close(maps, 2 * expected)


@pytest.mark.parametrize("shape", [(4,), (4, 0)])
def test_several_classes_have_to_be_named(shape):
    with pytest.raises(ValueError, match="classes must name one or more classes an image"):
        cam.grad_cam_classes(Convolutional(), batch()[0], torch.zeros(shape, dtype=torch.long))


def test_nothing_before_the_layer_is_kept():
    network, (images, targets) = Convolutional(), batch()
    graphs = []
    network.second.register_forward_hook(lambda *args: graphs.append(args[2].requires_grad))
    network.head.register_forward_hook(lambda *args: graphs.append(args[2].requires_grad))
    cam.grad_cam(network, images, targets)
    assert graphs == [False, True]


def test_later_in_place_operations_do_not_change_the_activation():
    network, (images, _) = Convolutional(), batch()
    network.cam_layer = network.norm  # an in-place ReLU follows
    network.eval()
    activation = network.norm(network.first(images)).detach()
    assert (activation < 0).any()
    torch.testing.assert_close(hear(network, images).leaf.detach(), activation)


def test_a_layer_whose_input_changes_in_place_is_kept_too():
    network, (images, _) = Convolutional(), batch()
    network.norm = nn.Identity()
    network.cam_layer = network.norm
    activation = network.first(images).detach()
    original, kept = network.first.forward, []
    network.first.forward = lambda x: kept.append(original(x)) or kept[-1]
    network.head.register_forward_hook(lambda *_: kept[0].detach().zero_() is None)
    torch.testing.assert_close(hear(network.eval(), images).leaf.detach(), activation)


@pytest.mark.parametrize("inference", [False, True])
def test_a_layer_that_misses_the_patches_raises_and_names_one_that_works(inference):
    network, (images, targets) = Transformer(), batch()
    with torch.inference_mode(inference):
        images = images.clone()
    network.__class__ = type("Late", (Transformer,), {"cam_layer": network.layers[-1]})
    with pytest.raises(ValueError, match=r"reaches prefix tokens only.*use layers\.2\.norm1"):
        cam.grad_cam(network, images, targets)
    assert not any(m._forward_hooks for m in network.modules())


def test_a_layer_that_the_score_does_not_use_raises():
    network, (images, targets) = Convolutional(), batch()
    network.side = nn.Conv2d(3, 11, 2).double()
    forward = network.forward
    network.forward = lambda images, tape=None: (network.side(images), forward(images))[1]
    network.cam_layer = network.side
    with pytest.raises(ValueError, match="no gradient at cam_layer; use drop as"):
        cam.grad_cam(network, images, targets)


def test_a_layer_that_runs_twice_or_never_raises():
    network, (images, targets) = Convolutional(), batch()
    network.cam_layer = nn.Identity()
    with pytest.raises(ValueError, match="ran 0 times"):
        cam.grad_cam(network, images, targets)
    network.first = nn.Sequential(network.cam_layer, network.first, network.cam_layer)
    with pytest.raises(ValueError, match="ran 2 times"):
        cam.grad_cam(network, images, targets)


def test_a_layer_that_gives_no_tensor_raises():
    network, (images, targets) = Convolutional(), batch()
    network.last.forward = lambda x: (x, x)
    with pytest.raises(ValueError, match="must give one tensor, got tuple"):
        cam.grad_cam(network, images, targets)


@pytest.mark.parametrize("method", METHODS)
def test_dead_channels_and_dead_images_give_zero_not_nan(method):
    network, (images, targets) = Convolutional(), batch()
    nn.init.constant_(network.second.bias, -1e6)
    assert not method(network, images, targets).any()


def test_classes_are_checked_for_every_image():
    with pytest.raises(ValueError, match="for 4 images"):
        cam.grad_cam_classes(Convolutional(), batch()[0], torch.zeros(3, 2, dtype=int))
    with pytest.raises(ValueError, match=rf"in \[0, {OUTPUTS}\)"):
        cam.grad_cam_classes(Convolutional(), batch()[0], torch.full((4, 2), OUTPUTS))
