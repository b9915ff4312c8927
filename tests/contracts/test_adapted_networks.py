"""What every explainer promises, for networks of timm and torchvision."""

import pytest
import timm
import torch
import torchvision
from test_explainers import EXPLAINERS, OF_ATTENTION, SQUARE, WIDE, batch, same, state

from vision_attn.explain import adapt

TALL = (24, 8)
TINY = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
SEQUENCES = {
    "class token": ("vit_tiny_patch16_224", {}),
    "distilled": ("deit_tiny_distilled_patch16_224", {}),
    "registers": ("vit_small_patch14_reg4_dinov2", {}),
    "mean": ("vit_tiny_patch16_224", {"global_pool": "avg"}),
    "attention pool": ("vit_base_patch16_siglip_224", {"reg_tokens": 3}),
    "qk norm": ("vit_tiny_patch16_224", {"qk_norm": True}),
    "rotary": ("vit_small_patch16_dinov3", {}),
    "swiglu": ("eva02_tiny_patch14_224", {}),
    "relative bias": ("beit_base_patch16_224", {}),
    "relative position": ("vit_relpos_small_patch16_224", {}),
    "hybrid": ("vit_tiny_r_s16_p8_224", {"patch_size": 1}),
}
MAPS = {
    "swin": ("swin_tiny_patch4_window7_224", {"window_size": 2, "embed_dim": 8, "depths": (2, 2)}),
    "convnext": ("test_convnext", {}),
    "resnet": ("test_resnet", {}),
    "efficientnet": ("test_efficientnet", {}),
}
INSIDE = [*sorted(OF_ATTENTION - {"rollout_max"}), "grad_cam", "layer_cam", "eigen_cam"]
FEW = ["grad_cam", "rollout", "relevance"]
CASES = [(kind, name) for kind in SEQUENCES for name in INSIDE]
CASES += [(kind, name) for kind in MAPS for name in INSIDE if name not in OF_ATTENTION]
CASES += [("torchvision vit", name) for name in INSIDE]
QUICK = [case for case in CASES if case[1] in FEW]
SHAPES = [(*case, WIDE) for case in CASES]
SHAPES += [(*case, size) for case in QUICK for size in (TALL, SQUARE)]
HALVED = [(kind, name) for kind, name in QUICK if kind in MAPS]
HALVED += [(k, name) for k in ("registers", "attention pool", "relative bias") for name in FEW]


def size_of(kind, size):
    """Give networks that shrink their maps more pixels to shrink."""
    if kind == "torchvision vit":
        return 16, 16
    factor = 1 if kind in SEQUENCES else {"swin": 2}.get(kind, 8)
    return size[0] * factor, size[1] * factor


def build(kind, size):
    size = size_of(kind, size)
    with torch.random.fork_rng():
        torch.manual_seed(31)
        if kind == "torchvision vit":
            network = torchvision.models.VisionTransformer(16, 4, 2, 2, 12, 24, num_classes=5)
        elif kind in SEQUENCES:
            name, settings = SEQUENCES[kind]
            network = timm.create_model(
                name, pretrained=False, img_size=size, num_classes=5, **(TINY | settings)
            )
        else:
            name, settings = MAPS[kind]
            if kind == "swin":
                settings = {**settings, "img_size": size, "num_heads": (2, 2)}
            network = timm.create_model(name, pretrained=False, num_classes=5, **settings)
        for parameter in network.parameters():  # fresh weights look everywhere alike
            if parameter.ndim > 1:
                parameter.data.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize(("kind", "name", "size"), SHAPES)
def test_a_batch_equals_its_images_one_by_one_and_a_second_call(kind, name, size):
    network, (images, targets) = adapt(build(kind, size)), batch(size_of(kind, size))
    maps = EXPLAINERS[name](network, images, targets)
    assert maps.shape == (3, *size_of(kind, size))
    assert maps.isfinite().all()
    torch.testing.assert_close(EXPLAINERS[name](network, images, targets), maps, rtol=0, atol=0)
    for image, target, one in zip(images, targets, maps, strict=True):
        alone = EXPLAINERS[name](network, image[None], target[None])[0]
        torch.testing.assert_close(alone, one, rtol=1e-3, atol=1e-4 * one.abs().max().item())


@pytest.mark.parametrize(("kind", "name"), QUICK)
def test_a_network_in_use_is_left_as_it_was(kind, name):
    network, (images, targets) = build(kind, WIDE), batch(size_of(kind, WIDE))
    expected = EXPLAINERS[name](adapt(network), images, targets)
    network.train()
    for number, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(number % 3 > 0)
        parameter.grad = torch.ones_like(parameter) if number % 5 == 0 else None
    with torch.no_grad():
        before = state(network)
        found = EXPLAINERS[name](adapt(network), images, targets)
        same(state(network), before)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        *_, head = network.children()
        last = getattr(adapt(network), "last_look", None) or head  # behind it not all is run
        last.forward = lambda *_, **__: [][0]
        with pytest.raises(IndexError, match="list index out of range"):
            EXPLAINERS[name](adapt(network), images, targets)
        same(state(network), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kind", "name"), HALVED)
def test_networks_in_half_precision_are_explained(kind, name, dtype):
    network, (images, targets) = build(kind, WIDE).to(dtype), batch(size_of(kind, WIDE))
    maps = EXPLAINERS[name](adapt(network), images.to(dtype), targets)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert maps.any()


@pytest.mark.parametrize("kind", ["class token", "relative bias", "swin", "resnet"])
def test_a_compiled_network_is_explained_and_stays_compiled(kind):
    network, (images, targets) = build(kind, WIDE), batch(size_of(kind, WIDE))
    names = FEW if kind not in MAPS else ["grad_cam"]
    expected = {name: EXPLAINERS[name](adapt(network), images, targets) for name in names}
    runs = []

    def counting(graph, _):
        return lambda *inputs: (runs.append(graph), graph(*inputs))[1]

    network.compile(backend=counting)
    with torch.no_grad():
        network(images)
        made = len(runs)
        assert made
        for name, maps in expected.items():
            before = state(network)
            found = EXPLAINERS[name](adapt(network), images, targets)
            torch.testing.assert_close(found, maps, rtol=0, atol=0)
            same(state(network), before)
        assert len(runs) == made
        network(images)
    assert len(runs) == 2 * made


@pytest.mark.parametrize("size", [SQUARE, WIDE])
@pytest.mark.parametrize("kind", [*SEQUENCES, "swin"])  # the others take seconds
def test_half_precision_train_mode_frozen_and_compiled_at_once_change_nothing(kind, size):
    plain, network = (build(kind, size).bfloat16() for _ in range(2))
    network.train().requires_grad_(False).compile(backend="eager")
    images, targets = batch(size_of(kind, size), count=2)
    before = state(network)
    for name in [name for case, name in CASES if case == kind]:
        expected = EXPLAINERS[name](adapt(plain), images.bfloat16(), targets)
        with torch.no_grad():
            found = EXPLAINERS[name](adapt(network), images.bfloat16(), targets)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    same(state(network), before)


@pytest.mark.parametrize("name", sorted(OF_ATTENTION))
@pytest.mark.parametrize("kind", MAPS)
def test_what_is_undefined_is_refused_with_a_way_out(kind, name):
    network, (images, targets) = build(kind, WIDE).train(), batch(size_of(kind, WIDE))
    before = state(network)
    with pytest.raises(ValueError, match="; use grad_cam"):
        EXPLAINERS[name](adapt(network), images, targets)
    same(state(network), before)
