"""What every explainer promises, for every kind of network."""

from functools import partial

import pytest
import torch

from vision_attn.explain import BASELINES, METHODS, METRICS, SIGNED
from vision_attn.explain.methods import settings
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.spec import Spec

NAMES = tuple("abcde")
SQUARE, WIDE = (16, 16), (8, 24)
FEWER = {  # forward passes, to keep the test short
    "rise": {"samples": 7},
    "occlusion": {"window": 4, "stride": 4},
    "smoothgrad": {"samples": 3},
    "integrated_gradients": {"steps": 3},
    "score_cam_top32": {"channels": 3},
}
EXPLAINERS = {
    name: partial(method, **FEWER.get(name, {})) for name, method in (METHODS | BASELINES).items()
}
small = partial(ViTConfig, dim=8, depth=2, heads=2, patch_size=4)
NETWORKS = {
    "class token": small(),
    "registers": small(registers=3, qk_norm=True, layer_scale=0.5),
    "distilled": small(distilled=True, drop_path=0.5, dropout=0.5),
    "mean": small(pool="mean", position="rotary", dim=16),
    "attention pool": small(pool="attention", position="sincos"),
    "sequence pool": small(pool="sequence", tokenizer="conv", position="none"),
    "resnet": ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 4, 6, 7), stem="small", dropout=0.5),
    "glimpse": GlimpseConfig(glimpses=3, size=4, scales=2, hidden=8),
}
OF_ATTENTION = {
    "attention",
    "rollout",
    "rollout_max",
    "gradient_rollout",
    "relevance",
    "attention_gradient",
    "attention_flow",
}


OF_FEATURES = {
    *("cam", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam", "eigen_cam"),
    *("score_cam", "score_cam_top32", "ablation_cam"),
}


def undefined(kind, method):
    """Tell which methods must refuse which network."""
    if kind == "glimpse":
        return method in OF_ATTENTION | OF_FEATURES
    return method in ({"cam", "full_grad"} if kind != "resnet" else OF_ATTENTION) | {"glimpses"}


def build(kind, size=WIDE):
    with torch.random.fork_rng():
        torch.manual_seed(31)
        network = NETWORKS[kind].build(Spec(image_size=size, names=NAMES))
        for parameter in network.parameters():  # fresh weights look everywhere alike
            if parameter.ndim > 1:
                parameter.data.add_(0.2 * torch.randn_like(parameter))
    return network


def batch(size=WIDE, count=3):
    generator = torch.Generator().manual_seed(37)
    images = torch.randn(count, 3, *size, generator=generator)
    return images, torch.randint(len(NAMES), (count,), generator=generator)


def cases(*kinds):
    names = [(kind, name) for kind in kinds or NETWORKS for name in EXPLAINERS]
    return [(kind, name) for kind, name in names if not undefined(kind, name)]


SEVERAL = ("registers", "attention pool", "resnet")  # stand for all where the kind hardly matters


def state(network):
    return {
        "modes": [module.training for module in network.modules()],
        "frozen": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "hooks": [
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
            for m in network.modules()
        ],
        "weights": [tensor.clone() for tensor in network.state_dict().values()],
        "random": torch.get_rng_state(),
        "enabled": torch.is_grad_enabled(),
    }


def same(first, second):
    assert first["gradients"] == second["gradients"]
    for name in first.keys() - {"gradients"}:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "name", "size"),
    [(*case, WIDE) for case in cases()] + [(*case, SQUARE) for case in cases(*SEVERAL)],
)
def test_a_batch_equals_its_images_one_by_one_and_a_second_call(kind, name, size):
    network, (images, targets) = build(kind, size), batch(size)
    maps = EXPLAINERS[name](network, images, targets)
    assert maps.shape == (3, *size)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert not maps.requires_grad
    if name in METHODS and name not in SIGNED:
        assert (maps >= 0).all()
    torch.testing.assert_close(EXPLAINERS[name](network, images, targets), maps, rtol=0, atol=0)
    for image, target, one in zip(images, targets, maps, strict=True):
        alone = EXPLAINERS[name](network, image[None], target[None])[0]
        torch.testing.assert_close(alone, one, rtol=1e-3, atol=1e-4 * one.abs().max().item())


@pytest.mark.parametrize(("kind", "name"), cases(*SEVERAL))
def test_a_network_in_use_is_left_as_it_was(kind, name):
    network, (images, targets) = build(kind).eval(), batch()
    expected = EXPLAINERS[name](network, images, targets)
    network.train()
    for number, (parameter, module) in enumerate(
        zip(network.parameters(), network.modules(), strict=False)
    ):
        parameter.requires_grad_(number % 3 > 0)
        module.training = number % 2 == 0
        parameter.grad = torch.ones_like(parameter) if number % 5 == 0 else None
    with torch.no_grad():
        before, images_before = state(network), images.clone()
        found = EXPLAINERS[name](network, images, targets)
        same(state(network), before)
    assert torch.equal(images, images_before)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "name"), [case for case in cases(*SEVERAL) if case[1] not in BASELINES]
)
def test_an_error_passes_through_and_leaves_no_trace(kind, name):
    network, (images, targets) = build(kind).train(), batch()

    def fail(*_):
        raise IndexError("from the caller")

    # What only looks does not run the head.
    layer = network.get_submodule("fc" if kind == "resnet" else "blocks.1.attn")
    layer.forward = fail
    before = state(network)
    with pytest.raises(IndexError, match="from the caller"):
        EXPLAINERS[name](network, images, targets)
    same(state(network), before)


@pytest.mark.parametrize(("kind", "name"), cases(*SEVERAL))
def test_networks_in_half_precision_are_explained(kind, name):
    network, (images, targets) = build(kind, (8, 8)), batch((8, 8), count=2)
    for dtype in (torch.bfloat16, torch.float16):
        maps = EXPLAINERS[name](network.to(dtype), images.to(dtype), targets)
        assert maps.dtype == torch.float32
        assert maps.isfinite().all()


@pytest.mark.parametrize("kind", SEVERAL)
def test_a_compiled_network_is_explained_and_stays_compiled(kind):
    network, (images, targets) = build(kind).eval(), batch()
    expected = {name: EXPLAINERS[name](network, images, targets) for _, name in cases(kind)}
    compiled, runs = [], []

    def counting(graph, _):
        compiled.append(graph)
        return lambda *inputs: (runs.append(graph), graph(*inputs))[1]

    network.compile(backend=counting)
    with torch.no_grad():
        network(images)
        made = len(compiled)
        for name, maps in expected.items():
            before = state(network)
            found = EXPLAINERS[name](network, images, targets)
            torch.testing.assert_close(found, maps, rtol=0, atol=0)
            same(state(network), before)
        assert len(runs) == made  # the compiled code ran for the first call alone
        network(images)
    assert len(compiled) == made
    assert len(runs) == 2 * made


@pytest.mark.parametrize("size", [SQUARE, WIDE])
@pytest.mark.parametrize("kind", sorted(NETWORKS.keys() - {"glimpse"}))  # its retina is float32
def test_half_precision_train_mode_frozen_and_compiled_at_once_change_nothing(kind, size):
    plain, network = (build(kind, size).bfloat16() for _ in range(2))
    network.train().requires_grad_(False).compile(backend="eager")
    images, targets = batch(size, count=2)
    before = state(network)
    for _, name in cases(kind):
        expected = EXPLAINERS[name](plain.eval(), images.bfloat16(), targets)
        with torch.no_grad():
            found = EXPLAINERS[name](network, images.bfloat16(), targets)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    same(state(network), before)


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_undefined_is_refused_by_name_with_a_way_out(kind):
    network, (images, targets) = build(kind), batch()
    before = state(network)
    for name in filter(partial(undefined, kind), METHODS):
        with pytest.raises(ValueError, match=r"; use [a-z_]+"):
            METHODS[name](network, images, targets)
    same(state(network), before)


@pytest.mark.parametrize("name", METHODS)
def test_wrong_targets_are_refused(name):
    network, (images, targets) = build("class token"), batch()
    with pytest.raises(ValueError, match="one class an image"):
        METHODS[name](network, images, targets[:2])
    with pytest.raises(ValueError, match=r"targets must be in \[0, 5\), got \[5\]"):
        METHODS[name](network, images, torch.full_like(targets, 5))


@pytest.mark.parametrize("kind", ["class token", "resnet"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_give_one_number_an_image_for_any_batch_and_leave_no_trace(kind, name):
    network, (images, targets) = build(kind).train(), batch()
    maps = METHODS["saliency"](network, images, targets)
    before = state(network)
    expected = METRICS[name](network, images, targets, maps)
    assert expected.shape == (3,)
    assert expected.isfinite().all()
    found = METRICS[name](network, images, targets, maps, batch_size=5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    same(state(network), before)


@pytest.mark.parametrize("name", METHODS | BASELINES | METRICS)
def test_settings_can_be_written_down(name):
    listed = settings((METHODS | BASELINES | METRICS)[name])
    assert all(isinstance(v, str | float | int | tuple | None) for v in listed.values())
    assert not {"model", "images", "targets", "maps"} & listed.keys()
    if name == "score_cam_top32":
        assert listed == {"channels": 32, "batch_size": 64}


def test_signed_methods_exist_and_are_signed():
    assert METHODS.keys() >= SIGNED
    images, targets = batch(count=8)
    for name in SIGNED:
        kind = "resnet" if name == "cam" else "class token"
        assert (METHODS[name](build(kind), images, targets) < 0).any()
