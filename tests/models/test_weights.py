"""Weights move to another grid or head, and say so; anything else is refused by name."""

import dataclasses

import pytest
import torch
from timm.models import adapt_input_conv

from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.models.embed import resize_positions
from vision_attn.models.weights import fit_channels, load_weights
from vision_attn.spec import Spec

CONFIG = ViTConfig(dim=12, depth=2, heads=2, patch_size=5)
SPEC = Spec(image_size=(35, 35), names=("a", "b", "c"))


def test_another_grid_and_head_are_fitted_and_reported():
    old, wide = CONFIG.build(SPEC), dataclasses.replace(SPEC, image_size=(15, 55), names=("x", "y"))
    new = CONFIG.build(wide)
    fresh = new.head.weight.clone()
    changes = load_weights(new, old.state_dict())
    assert [change.split(":")[0] for change in changes] == ["pos_embed", "head.weight", "head.bias"]
    assert "7x7 grid to 3x11" in changes[0]
    assert torch.equal(new.head.weight, fresh)
    assert torch.equal(new.pos_embed, resize_positions(old.pos_embed, (7, 7), (3, 11), 1))
    assert torch.equal(new.blocks[1].attn.qkv.weight, old.blocks[1].attn.qkv.weight)


@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({"distilled": True}, 2),
        ({"registers": 3}, 4),
        ({"registers": 3, "prefix_position": False}, 0),
        ({"pool": "mean"}, 0),
    ],
)
def test_positions_of_as_many_prefix_tokens_as_there_are_stay(changes, prefix):
    config = dataclasses.replace(CONFIG, **changes)
    old, new = config.build(SPEC), config.build(dataclasses.replace(SPEC, image_size=(15, 55)))
    torch.nn.init.normal_(old.pos_embed)
    (change,) = load_weights(new, old.state_dict())
    assert change == "pos_embed: resampled from a 7x7 grid to 3x11"
    assert torch.equal(new.pos_embed, resize_positions(old.pos_embed, (7, 7), (3, 11), prefix))


def test_the_same_shape_changes_nothing():
    old, new = CONFIG.build(SPEC), CONFIG.build(SPEC)
    assert load_weights(new, old.state_dict()) == []
    assert torch.equal(new.head.weight, old.head.weight)


def test_a_grid_that_is_not_square_is_given():
    wide = CONFIG.build(dataclasses.replace(SPEC, image_size=(15, 55)))
    new = CONFIG.build(SPEC)
    assert "3x11 grid to 7x7" in load_weights(new, wide.state_dict(), grid=(3, 11))[0]
    with pytest.raises(ValueError, match="misshapen: pos_embed"):
        load_weights(new, wide.state_dict())


def test_as_many_patches_in_another_grid_are_resampled_too():
    tall = CONFIG.build(dataclasses.replace(SPEC, image_size=(30, 20)))
    wide = CONFIG.build(dataclasses.replace(SPEC, image_size=(20, 30)))
    (change,) = load_weights(wide, tall.state_dict(), grid=(6, 4))
    assert change == "pos_embed: resampled from a 6x4 grid to 4x6"
    assert torch.equal(wide.pos_embed, resize_positions(tall.pos_embed, (6, 4), (4, 6), 1))


def test_a_patch_size_and_channels_are_fitted_and_reported():
    grey = dataclasses.replace(SPEC, channels=1, mean=(0.5,), std=(0.5,), image_size=(49, 49))
    old, new = CONFIG.build(SPEC), dataclasses.replace(CONFIG, patch_size=7).build(grey)
    (change,) = load_weights(new, old.state_dict())
    assert change == (
        "patch_embed.proj.weight: from 3 input channels to 1, resampled from patches of 5x5 "
        "pixels to 7x7"
    )
    small = torch.randn(2, 1, 5, 5)
    large = torch.nn.functional.interpolate(small, (7, 7), mode="bilinear")
    torch.testing.assert_close(
        new.patch_embed(large), old.patch_embed(small.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_channels_are_fitted_as_in_timm(channels):
    kernel = torch.randn(5, 3, 7, 7, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(fit_channels(kernel, channels), adapt_input_conv(channels, kernel))


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 1), (3, 6)])
def test_an_image_of_equal_channels_gives_the_same_response(old, new):
    kernel = torch.randn(5, old, 3, 3, generator=torch.Generator().manual_seed(2))
    image = torch.randn(2, 1, 9, 9)
    before = torch.conv2d(image.expand(-1, old, -1, -1), kernel)
    after = torch.conv2d(image.expand(-1, new, -1, -1), fit_channels(kernel, new))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_a_resnet_takes_other_channels_and_refuses_another_stem():
    config = ResNetConfig(depths=(1, 1, 1, 1), channels=(6, 10, 14, 22))
    old, grey = config.build(SPEC), dataclasses.replace(SPEC, channels=1, mean=(0,), std=(1,))
    (change,) = load_weights(config.build(grey), old.state_dict())
    assert change == "conv1.weight: from 3 input channels to 1"
    with pytest.raises(ValueError, match=r"misshapen: conv1\.weight") as caught:
        load_weights(dataclasses.replace(config, stem="small").build(SPEC), old.state_dict())
    assert "these weights fit model.name=resnet model.block=basic model.depths=[1,1,1,1]" in str(
        caught.value
    )


@pytest.mark.parametrize(("own", "other"), [("stride", "average"), ("average", "stride")])
def test_how_a_resnet_halves_its_maps_is_told_by_its_weights(own, other):
    config = ResNetConfig(depths=(1, 1, 1, 1), channels=(6, 10, 14, 22), downsample=own)
    changed = dataclasses.replace(config, downsample=other)
    with pytest.raises(ValueError, match=rf"these weights fit .* model\.downsample={own}"):
        load_weights(changed.build(SPEC), config.build(SPEC).state_dict())


def test_a_checkpoint_without_a_head_gets_a_fresh_one_and_says_so():
    old, new = CONFIG.build(SPEC), CONFIG.build(SPEC)
    fresh = new.head.weight.clone()
    state = {name: x for name, x in old.state_dict().items() if not name.startswith("head.")}
    changes = load_weights(new, state)
    assert changes[0] == "head.weight: fresh weights, the checkpoint has none, the model 3"
    assert torch.equal(new.head.weight, fresh)


OTHERS = {
    "vit": dataclasses.replace(CONFIG, distilled=True),
    "resnet": ResNetConfig(depths=(1, 1, 1, 1), channels=(6, 10, 14, 22)),
}


@pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS)
def test_as_many_other_classes_get_a_fresh_head(config):
    old, new = config.build(SPEC), config.build(SPEC)
    fresh = {name: x.clone() for name, x in new.state_dict().items()}
    (change,) = load_weights(new, old.state_dict(), names=("a", "b", "d"))
    assert change == "head: fresh weights, the checkpoint tells other classes, such as d for c"
    for name, x in new.state_dict().items():
        kept = fresh if name.startswith(("head", "fc.")) else old.state_dict()
        assert torch.equal(x, kept[name])


WORDNET = ("n01440764", "n01443537", "n01484850")
WORDS = ("tench", "goldfish", "white shark")


@pytest.mark.parametrize(("then", "now"), [(WORDNET, WORDS), (WORDS, WORDNET)])
def test_numbers_of_wordnet_are_no_words_and_that_is_told(then, now):
    model = CONFIG.build(dataclasses.replace(SPEC, names=now))
    fresh = model.head.weight.clone()
    state = CONFIG.build(SPEC).state_dict()
    (change,) = load_weights(model, state, names=then)
    assert f"the checkpoint tells other classes, such as {then[0]} for {now[0]}; one" in change
    assert torch.equal(model.head.weight, fresh)
    same = CONFIG.build(dataclasses.replace(SPEC, names=then))
    assert load_weights(same, state, names=then) == []
    assert torch.equal(same.head.weight, state["head.weight"])


@pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS)
def test_the_same_classes_in_another_order_keep_their_outputs(config):
    turned = dataclasses.replace(SPEC, names=("c", "a", "b"))
    old, new = config.build(SPEC).eval(), config.build(turned).eval()
    (change,) = load_weights(new, old.state_dict(), names=SPEC.names)
    assert change == "head: outputs put in the order of the model's classes"
    images = torch.randn(2, 3, 35, 35, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(new(images), old(images)[:, [2, 0, 1]])
    assert load_weights(config.build(turned), old.state_dict()) == []  # of unknown classes


def test_another_kind_of_vit_is_told_with_the_settings_that_fit():
    rich = dataclasses.replace(
        CONFIG, registers=2, layer_scale=0.1, distilled=True, qk_norm=True, qkv_bias=False
    )
    with pytest.raises(ValueError) as caught:
        load_weights(CONFIG.build(SPEC), rich.build(SPEC).state_dict())
    *_, last = str(caught.value).splitlines()
    for setting in ("depth=2", "dim=12", "patch_size=5", "registers=2", "distilled=true"):
        assert f"model.{setting}" in last
    assert "unexpected: blocks.*.ls1.gamma (2)" in str(caught.value)
    pooled = dataclasses.replace(CONFIG, pool="mean", fc_norm=True).build(SPEC)
    with pytest.raises(ValueError, match=r"model.pool=mean model.fc_norm=true"):
        load_weights(CONFIG.build(SPEC), pooled.state_dict())


def test_a_setting_that_no_weight_shows_is_compared_with_the_models_own_word():
    fixed = dataclasses.replace(CONFIG, position="sincos")
    with pytest.raises(ValueError, match="position: sincos there, the model has learned\n"):
        load_weights(CONFIG.build(SPEC), fixed.build(SPEC).state_dict(), unseen=fixed.unseen)


def test_every_misfit_is_listed():
    state = CONFIG.build(SPEC).state_dict()
    state["extra"] = state.pop("norm.weight")
    state["blocks.0.mlp.fc1.bias"] = torch.zeros(3)
    with pytest.raises(ValueError) as caught:
        load_weights(CONFIG.build(SPEC), state)
    for line in ("missing: norm.weight", "unexpected: extra", "fc1.bias is (3,), the model needs"):
        assert line in str(caught.value)
