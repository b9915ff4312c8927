import math
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from vision_attn.engine.config import TrainConfig
from vision_attn.engine.optim import build_optimizer, parameter_groups, rate_at, set_rate


def config(**changes) -> TrainConfig:
    return TrainConfig(**({"steps": 110, "rate": 0.3, "warmup": 10} | changes))


def test_warm_up_is_linear_and_reaches_the_peak():
    assert [rate_at(step, config()) for step in range(11)] == pytest.approx(
        [0.3 * (step + 1) / 11 for step in range(11)]
    )


def test_cosine_is_symmetric_about_its_middle():
    shape = config(final_rate=0.1)
    assert rate_at(10, shape) == pytest.approx(0.3)
    assert rate_at(60, shape) == pytest.approx((0.3 + 0.03) / 2)
    assert rate_at(110, shape) == pytest.approx(0.03)
    assert rate_at(35, shape) == pytest.approx(0.03 + 0.27 * (1 + math.cos(math.pi / 4)) / 2)


def test_linear_falls_evenly():
    shape = config(schedule="linear", final_rate=0.5)
    falls = [rate_at(step, shape) - rate_at(step + 1, shape) for step in range(10, 110)]
    assert falls == pytest.approx([0.0015] * 100)
    assert rate_at(110, shape) == pytest.approx(0.15)


def test_constant_and_step():
    assert {rate_at(step, config(schedule="constant")) for step in range(10, 110)} == {0.3}
    steps = [rate_at(step, config(schedule="step", steps=100)) for step in (49, 50, 74, 75, 99)]
    assert steps == pytest.approx([0.3, 0.03, 0.03, 0.003, 0.003])


class Network(nn.Module):
    """Names and shapes of timm's ViT, and a word table."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 5))
        self.pos_embed = nn.Parameter(torch.zeros(1, 7, 5))
        self.patch_embed = nn.Conv2d(3, 5, 2)
        self.words = nn.Embedding(11, 5)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"norm1": nn.LayerNorm(5), "mlp": nn.Linear(5, 5)}) for _ in range(3)
        )
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 2)


def by_name(groups, model) -> dict[str, dict]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group for group in groups for p in group["params"]}


def test_only_matrices_decay_and_only_hidden_ones_are_made_orthogonal():
    model = Network()
    found = by_name(parameter_groups(model, config(weight_decay=0.2)), model)
    assert found.keys() == dict(model.named_parameters()).keys()
    hidden = {"patch_embed.weight"} | {f"blocks.{i}.mlp.weight" for i in range(3)}
    for name, group in found.items():
        decays = name in hidden | {"words.weight", "head.weight"}
        assert group["weight_decay"] == (0.2 if decays else 0.0), name
        assert group["use_fallback"] == (name not in hidden), name


def test_layer_decay_counts_from_the_head_back():
    model = Network()
    found = by_name(parameter_groups(model, config(layer_decay=0.5)), model)
    expected = {
        "head.weight": 1.0,
        "norm.weight": 1.0,
        "blocks.2.mlp.weight": 0.5,
        "blocks.1.norm1.bias": 0.25,
        "blocks.0.mlp.bias": 0.125,
        "patch_embed.weight": 0.0625,
        "pos_embed": 0.0625,
        "cls_token": 0.0625,
    }
    assert {name: found[name]["lr_scale"] for name in expected} == expected


def test_layer_decay_of_a_resnet_goes_by_stages():
    model = nn.Module()
    for name in ("conv1", "layer1", "layer2", "fc"):
        setattr(model, name, nn.Sequential(nn.Linear(2, 2)))
    found = by_name(parameter_groups(model, config(layer_decay=0.5)), model)
    scales = {name.split(".")[0]: group["lr_scale"] for name, group in found.items()}
    assert scales == {"conv1": 0.125, "layer1": 0.25, "layer2": 0.5, "fc": 1.0}


def test_layer_decay_without_layers_is_refused():
    with pytest.raises(ValueError, match=r"layer_decay .* count layers by parameters named"):
        parameter_groups(nn.Linear(2, 2), config(layer_decay=0.5))


def test_the_head_has_a_rate_of_its_own():
    model = Network()
    found = by_name(parameter_groups(model, config(head_rate=10.0, layer_decay=0.5)), model)
    expected = {"head.weight": 10.0, "head.bias": 10.0, "norm.weight": 1.0, "pos_embed": 0.0625}
    assert {name: found[name]["lr_scale"] for name in expected} == expected


def test_a_rate_for_a_head_that_is_not_trained_is_refused():
    model = Network()
    model.head.requires_grad_(False)
    with pytest.raises(ValueError, match=r"head_rate is for a trained output layer.*head_rate=3"):
        parameter_groups(model, config(head_rate=3.0))


def test_a_policy_has_a_rate_of_its_own():
    model = nn.ModuleDict({"policy": nn.Linear(2, 2), "policymaker": nn.Linear(2, 2)})
    found = by_name(parameter_groups(model, config(policy_rate=0.1)), model)
    assert [found[f"{name}.weight"]["lr_scale"] for name in model] == [0.1, 1.0]
    with pytest.raises(ValueError, match=r"policy_rate=0.1 and a network without one; leave"):
        parameter_groups(Network(), config(policy_rate=0.1))


def test_frozen_parameters_are_left_out_and_not_all_may_be():
    model = Network().requires_grad_(False)
    with pytest.raises(ValueError, match="frozen"):
        parameter_groups(model, config())
    model.head.requires_grad_(True)
    assert by_name(parameter_groups(model, config()), model).keys() == {"head.weight", "head.bias"}


def test_set_rate_keeps_each_groups_share():
    optimizer = build_optimizer(Network(), config(layer_decay=0.5))
    set_rate(optimizer, 0.8)
    rates = {group["lr"] for group in optimizer.param_groups}
    assert rates == {0.8, 0.4, 0.2, 0.1, 0.05}


@pytest.mark.parametrize("name", get_args(get_type_hints(TrainConfig)["optimizer"]))
def test_every_optimizer_goes_downhill(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 5))
    optimizer = build_optimizer(model, config(optimizer=name, rate=0.01, weight_decay=0.01))
    inputs, outputs = torch.randn(2, 13, 5)
    losses = []
    for _ in range(20):
        loss = (model(inputs) - outputs).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
