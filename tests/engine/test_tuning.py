"""What is frozen stays bit for bit, statistics included; what is trained is what was asked for."""

import pytest
import torch
from tiny_training import make_task, train, weights
from torch import nn

from vision_attn.engine.start import rest
from vision_attn.engine.tune_config import (
    FullConfig,
    LastBlocksConfig,
    LinearProbeConfig,
    LoraConfig,
)
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

SPEC = Spec(image_size=(12, 12), names=("a", "b", "c"))
VIT = ViTConfig(dim=12, depth=3, heads=2, patch_size=4, drop_path=0.2)
RESNET = ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 6, 8, 10), stem="small")


def trained(model: nn.Module) -> list[str]:
    return [name for name, x in model.named_parameters() if x.requires_grad]


def test_full_training_leaves_the_model_as_it_is():
    model = VIT.build(SPEC)
    model.norm.requires_grad_(False)
    before = trained(model)
    assert FullConfig().apply(model)[0].startswith("trained: ")
    assert trained(model) == before
    assert FullConfig().apply(VIT.build(SPEC)) == []


@pytest.mark.parametrize(("config", "head"), [(VIT, "head"), (RESNET, "fc")])
def test_a_linear_probe_trains_the_head_alone(config, head):
    model = config.build(SPEC)
    LinearProbeConfig().apply(model)
    assert trained(model) == [f"{head}.weight", f"{head}.bias"]


@pytest.mark.parametrize(
    ("config", "blocks", "parts"),
    [
        (VIT, 1, {"blocks.2", "norm", "head"}),
        (VIT, 2, {"blocks.1", "blocks.2", "norm", "head"}),
        (RESNET, 1, {"layer4.0", "fc"}),
    ],
)
def test_the_last_blocks_and_what_follows_are_trained(config, blocks, parts):
    model = config.build(SPEC)
    LastBlocksConfig(blocks=blocks).apply(model)
    found = {".".join(name.split(".")[:2]) for name in trained(model)}
    assert {part for part in parts if any(x.startswith(part) for x in found)} == parts
    assert all(any(x.startswith(part) for part in parts) for x in found)


def test_as_many_blocks_as_there_are_is_too_many():
    with pytest.raises(ValueError, match=r"tune\.blocks must be at most 3, got 4"):
        LastBlocksConfig(blocks=4).apply(VIT.build(SPEC))


def test_patterns_freeze_parts_and_weights_by_name():
    model = VIT.build(SPEC)
    everything = trained(model)
    FullConfig(freeze=("blocks.[01]", "pos_embed", "*.norm1.bias")).apply(model)
    frozen = set(everything) - set(trained(model))
    assert frozen == {
        name
        for name in everything
        if name.startswith(("blocks.0.", "blocks.1.", "pos_embed")) or name.endswith("norm1.bias")
    }


@pytest.mark.parametrize("pattern", ["block", "blocks.3", "patch_embed.weight"])
def test_a_pattern_that_fits_nothing_is_named(pattern):
    with pytest.raises(ValueError, match=rf"tune\.freeze must fit .*, got {pattern}, which fits"):
        FullConfig(freeze=("head", pattern)).apply(VIT.build(SPEC))


def test_a_model_without_head_or_blocks_is_refused():
    with pytest.raises(ValueError, match="train an output layer named head"):
        LinearProbeConfig().apply(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="found none"):
        LastBlocksConfig().apply(nn.Linear(2, 3))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: LastBlocksConfig(blocks=0), "blocks must be 1 or more, got 0"),
        (lambda: LoraConfig(rank=0), "rank must be 1 or more, got 0"),
        (lambda: LoraConfig(alpha=0.0), "alpha must be positive"),
        (lambda: LoraConfig(targets=()), "targets must name linear layers"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        config()


def test_frozen_parts_rest_and_half_frozen_ones_do_not():
    model = VIT.build(SPEC).train()
    LastBlocksConfig(blocks=1, freeze=("blocks.2.norm1.bias",)).apply(model)
    rest(model)
    assert [block.training for block in model.blocks] == [False, False, True]
    assert model.blocks[2].norm1.training
    assert model.training
    assert not model.patch_embed.training


@pytest.mark.parametrize(
    "config", [FullConfig(freeze=("patch_embed", "norm")), LinearProbeConfig()]
)
def test_frozen_weights_and_statistics_keep_their_bits(tmp_path, config):
    task = make_task(norm=True)
    config.apply(task.model)
    before = {name: x.clone() for name, x in task.state_dict().items()}
    train(tmp_path, task, ema=0.9, weight_decay=0.5, accumulate=2)
    after = weights(tmp_path)
    for name, value in before.items():
        same = not name.startswith("model.head")
        assert torch.equal(after[f".task.{name}"], value) == same, name
        assert torch.equal(after[f".average.{name}"], value) == same, name


def test_statistics_of_a_trained_norm_do_move(tmp_path):
    task = make_task(norm=True)
    FullConfig(freeze=("patch_embed",)).apply(task.model)
    before = task.model.norm.running_mean.clone()
    train(tmp_path, task)
    assert not torch.equal(task.model.norm.running_mean, before)
