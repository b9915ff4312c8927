"""Weights move to another grid or head, and say so; anything else is refused by name."""

import dataclasses

import pytest
import torch

from vision_attn.models.config import ViTConfig
from vision_attn.models.embed import resize_positions
from vision_attn.models.weights import load_weights
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


def test_the_same_shape_changes_nothing():
    old, new = CONFIG.build(SPEC), CONFIG.build(SPEC)
    assert load_weights(new, old.state_dict()) == []
    assert torch.equal(new.head.weight, old.head.weight)


def test_a_grid_that_is_not_square_is_given():
    wide = CONFIG.build(dataclasses.replace(SPEC, image_size=(15, 55)))
    new = CONFIG.build(SPEC)
    assert "3x11 grid to 7x7" in load_weights(new, wide.state_dict(), grid=(3, 11))[0]
    with pytest.raises(ValueError, match="grid 5x5"):
        load_weights(new, wide.state_dict())


def test_every_misfit_is_listed():
    state = CONFIG.build(SPEC).state_dict()
    state["extra"] = state.pop("norm.weight")
    state["blocks.0.mlp.fc1.bias"] = torch.zeros(3)
    with pytest.raises(ValueError) as caught:
        load_weights(CONFIG.build(SPEC), state)
    for line in ("missing: norm.weight", "unexpected: extra", "fc1.bias is (3,), the model needs"):
        assert line in str(caught.value)
