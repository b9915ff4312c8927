"""The Vision Transformer against timm, against references, and against itself."""

import dataclasses

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from vision_attn.models.config import ViTConfig
from vision_attn.models.vit import ViT
from vision_attn.spec import Spec
from vision_attn.tape import Tape

SPEC = Spec(image_size=(28, 35), names=("a", "b", "c"))
TINY = ViTConfig(dim=24, depth=3, heads=2, patch_size=7)
VARIANTS = {
    "plain": {},
    "mean": {"pool": "mean"},
    "fc_norm": {"pool": "mean", "fc_norm": True},
    "attention": {"pool": "attention"},
    "sequence": {"pool": "sequence", "tokenizer": "conv"},
    "distilled": {"distilled": True},
    "registers": {"registers": 5, "prefix_position": False, "layer_scale": 1e-5},
    "rotary": {"position": "rotary", "registers": 2, "qk_norm": True},
    "sincos": {"position": "sincos", "pool": "mean", "qkv_bias": False},
    "nowhere": {"position": "none"},
}


def build(**settings) -> ViT:
    torch.manual_seed(11)
    model = dataclasses.replace(TINY, **settings).build(SPEC).eval()
    for parameter in model.parameters():  # so that no branch starts at zero
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def images(batch=2, size=(28, 35)):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_tape_changes_nothing_and_sees_every_block(variant):
    model, tape = build(**VARIANTS[variant]), Tape()
    with torch.no_grad():
        torch.testing.assert_close(model(images(), tape), model(images()))
    attends = model.config.pool in ("attention", "sequence")
    assert len(tape.attention) == 3 + attends
    assert (model.readout is None) == attends
    for record in tape.attention:
        weights = record.weights()
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        torch.testing.assert_close(weights @ record.value, record.output)


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_grid_is_taken_and_laid_out(variant):
    model, tape = build(**VARIANTS[variant]), Tape()
    size = (14, 49)
    assert model(images(size=size), tape).shape == (2, 3)
    tokens = model.forward_features(images(size=size))
    assert model.to_map(tokens, size).shape == (2, 24, 2, 7)
    assert model.regions(images(size=size)).shape == (2, 14, 24)
    with pytest.raises(ValueError, match="28x28"):
        model.to_map(tokens[:, 1:], (28, 28))


def test_the_readout_names_the_tokens_that_the_head_reads():
    for variant in ("plain", "mean", "distilled", "registers"):
        model = build(**VARIANTS[variant])
        tokens = model.forward_features(images()).detach().requires_grad_()
        model.forward_head(tokens).sum().backward()
        read = tokens.grad.abs().sum((0, 2)) > 0
        assert torch.equal(read, model.readout > 0)
        torch.testing.assert_close(model.readout.sum(), torch.tensor(1.0))


def test_the_cam_layer_reaches_every_patch():
    for variant in VARIANTS:
        model = build(**VARIANTS[variant])
        seen = []
        handle = model.cam_layer.register_forward_hook(lambda *a, seen=seen: seen.append(a[2]))
        logits = model(images())
        handle.remove()
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), seen)
        assert (model.to_map(gradient, (28, 35)).abs().sum(1) > 0).all()


@pytest.mark.parametrize(
    ("name", "config", "arguments"),
    [
        ("vit_tiny_patch16_224", ViTConfig(size="Ti"), {}),
        ("deit_tiny_distilled_patch16_224", ViTConfig(size="Ti", distilled=True), {}),
        (
            "vit_small_patch14_reg4_dinov2",
            ViTConfig(patch_size=14, registers=4, prefix_position=False, layer_scale=1e-5, depth=2),
            {"depth": 2, "img_size": (56, 84)},
        ),
        (
            "vit_medium_patch16_gap_240",
            ViTConfig(dim=512, heads=8, pool="mean", qkv_bias=False, layer_scale=1e-6, depth=2),
            {"depth": 2},
        ),
    ],
)
def test_timm_weights_load_strictly_and_give_timm_logits(name, config, arguments):
    torch.manual_seed(3)
    reference = timm.create_model(name, num_classes=17, **arguments).eval()
    size = reference.patch_embed.img_size
    spec = Spec(image_size=size, names=tuple("abcdefghijklmnopq"))
    model = config.build(spec).eval()
    model.load_state_dict(reference.state_dict())
    batch = images(size=size)
    with torch.no_grad():
        torch.testing.assert_close(model(batch), reference(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"pool": "attention"}, {"global_pool": "map", "class_token": False}),
        ({"pool": "mean", "fc_norm": True}, {"global_pool": "avg", "class_token": False}),
        ({"qk_norm": True}, {"qk_norm": True}),
        ({"registers": 3}, {"reg_tokens": 3}),
        ({"position": "none", "mlp_ratio": 3.0}, {"pos_embed": "none", "mlp_ratio": 3.0}),
    ],
)
def test_settings_mean_what_they_mean_in_timm(settings, arguments):
    model = build(**settings)
    reference = VisionTransformer(
        img_size=(28, 35),
        patch_size=7,
        embed_dim=24,
        depth=3,
        num_heads=2,
        num_classes=3,
        **arguments,
    ).eval()
    reference.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(images()), reference(images()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", ["plain", "rotary", "sequence"])
def test_one_graph_holds_the_network_with_and_without_a_tape(variant):
    model = build(**VARIANTS[variant])

    def recorded(batch):
        tape = Tape()
        return model(batch, tape), [record.weights() for record in tape.attention]

    logits = torch.compile(model, fullgraph=True, backend="aot_eager")(images())
    compiled = torch.compile(recorded, fullgraph=True, backend="aot_eager")(images())
    torch.testing.assert_close(logits, model(images()))
    torch.testing.assert_close(compiled, recorded(images()))


def test_checkpointing_changes_no_gradient():
    model = build().train()
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(images()).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_dropping_acts_only_while_training():
    for settings in ({"drop_path": 0.5}, {"dropout": 0.5}, {"attention_dropout": 0.5}):
        model = build(**settings)
        assert torch.equal(model(images()), model(images()))
        model.train()
        assert not torch.equal(model(images()), model(images()))


def test_an_image_that_patches_do_not_cover_is_refused():
    with pytest.raises(ValueError, match=r"28x36 pixels and patch_size=7"):
        build()(images(size=(28, 36)))


def test_small_images_get_small_patches_by_default():
    assert ViTConfig(dim=8, depth=1, heads=1).patch_size_for((32, 32)) == 4
    assert ViTConfig(dim=8, depth=1, heads=1).patch_size_for((224, 224)) == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 23}, "heads must divide dim, got dim=23 and heads=2"),
        ({"depth": 0}, "must be positive"),
        ({"heads": 12, "position": "rotary"}, "divisible by 4, got 2"),
        ({"distilled": True, "pool": "mean"}, "set pool=cls"),
        ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\), got 1.0"),
        ({"registers": -1}, "registers must be 0 or more"),
        ({"fc_norm": True}, "pool=mean"),
        ({"tokenizer": "conv", "patch_size": 1}, "at least 2"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **settings)
