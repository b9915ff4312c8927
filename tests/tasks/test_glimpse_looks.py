"""REINFORCE through glimpses: against a fine grid of places, and against all cells there are."""

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd import grad
from two_words import PICTURE, SPEC, WORDS, batch

from vision_attn.models.caption_config import CaptionerConfig, GlimpseDecoderConfig, RetinaConfig
from vision_attn.models.gaze import Manner, Seen
from vision_attn.tape import Tape
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.tasks.caption_losses import said

AT_ANY_PLACE = GlimpseDecoderConfig(dim=8, sigma=0.5, order="look_first")
AT_CELLS = GlimpseDecoderConfig(dim=8, policy="categorical", grid=2, order="look_first")


def glimpsing(decoder=AT_ANY_PLACE, sharp=2.0, **task):
    torch.manual_seed(4)
    eye = RetinaConfig(size=3, scales=1, channels=(4,))
    model = CaptionerConfig(encoder=eye, decoder=decoder).build(SPEC)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(sharp)
    return CaptioningConfig(reinforce=1.0, value=0.0, **task).build(model, SPEC).train()


@pytest.mark.parametrize("rollouts", [1, 3])
def test_glimpses_learn_by_the_gradient_of_the_expected_reward(rollouts):
    """One word, one glimpse: the expectation over a Gaussian is an integral over the plane."""
    task = glimpsing(rollouts=rollouts)
    gaze, sight = task.model.decoder.gaze, task.model.look_at(PICTURE)
    parameters = list(gaze.policy.parameters())[-2:]
    hidden, _ = task.model.decoder.begin(sight, 1)
    mean = gaze.policy(hidden)[0, 0].tanh()
    axis = torch.linspace(-4, 4, 81) * gaze.policy.sigma
    places = mean.detach() + torch.cartesian_prod(axis, axis)
    log_density = -((places - mean) ** 2).sum(1) / (2 * gaze.policy.sigma**2)
    density = log_density.exp() * (axis[1] - axis[0]) ** 2 / (2 * math.pi * gaze.policy.sigma**2)
    word = WORDS[..., :1]
    everywhere = PICTURE.expand(len(places), -1, -1, -1)
    with torch.no_grad():
        gaze.forward = lambda h, s, w, m: Seen(gaze._glimpse(s, places.clamp(-1, 1)[:, None]))
        logits = task.model(everywhere, word.expand(len(places), -1, -1))
        del gaze.forward
        rewards = said(logits[:, 0], word[0].expand(len(places), -1))[:, 0]
    assert density.sum().item() == pytest.approx(1, abs=1e-3)
    expected = grad((density * rewards).sum(), parameters)
    assert max(x.abs().max() for x in expected) > 0.02

    usual = (density * rewards).sum().item()
    torch.manual_seed(9)
    spread = {
        name: estimated(task, baseline, 20_000 // rollouts, word, parameters, expected)
        for name, baseline in (("none", 0.0), ("value", usual if rollouts == 1 else 7.0))
    }
    if rollouts == 1:
        assert spread["value"] < 0.7 * spread["none"]
    else:  # times of one caption are held against each other, whatever the value says
        assert spread["value"] == pytest.approx(spread["none"], rel=0.5)


def estimated(task, baseline, count, word, parameters, exact):
    """Hold 24 estimates of a gradient against the exact one, and give how much they spread."""
    value = task.model.decoder.gaze.value
    with torch.no_grad():  # a constant for the learned baseline, which the value's weight leaves
        for parameter in value.parameters():
            parameter.zero_()
        value[-1].bias.fill_(baseline)
    chunks = [grad(-task(batch(count, word))["loss"], parameters) for _ in range(24)]
    found = [torch.stack(parts) for parts in zip(*chunks, strict=True)]
    for estimate, truth in zip(found, exact, strict=True):
        bias, error = (estimate.mean(0) - truth).abs(), estimate.std(0) / len(estimate) ** 0.5
        assert bias.max() < 0.01
        assert (bias <= 5 * error + 1e-5).all()
    return sum(x.var(0).sum().item() for x in found)


def shares(policy, hidden, sight):
    return policy.alignment(hidden, sight.outline, 0).squeeze(1)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_glimpses_at_cells_learn_by_the_gradient_of_the_expected_reward(share):
    """One word, one glimpse: there are four cells, and for some images their mean."""
    task = glimpsing(AT_CELLS, sharp=1.5, expected_share=share)
    gaze, sight = task.model.decoder.gaze, task.model.look_at(PICTURE)
    parameters = [gaze.policy.alignment.score.key.weight, gaze.policy.periphery[0].bias]
    hidden, _ = task.model.decoder.begin(sight, 1)
    weights = shares(gaze.policy, hidden, sight)[0, 0]
    word, cells = WORDS[..., :1], gaze.policy.middles(weights[None])[0]
    with torch.no_grad():
        gaze.forward = lambda h, s, w, m: Seen(gaze._glimpse(s, cells[:, None]))
        logits = task.model(PICTURE.expand(4, -1, -1, -1), word.expand(4, -1, -1))
        del gaze.forward
        rewards = said(logits[:, 0], word[0].expand(4, -1))[:, 0]
    of_draws = grad((weights * rewards).sum(), parameters)
    mean = said(task.model(PICTURE, word, expected_share=1.0)[0], word[0]).sum()
    of_mean = grad(mean, parameters)
    exact = [
        (1 - share) * draws + share * mean for draws, mean in zip(of_draws, of_mean, strict=True)
    ]
    assert max(x.abs().max() for x in exact) > 0.02
    torch.manual_seed(9)
    spread = {
        name: estimated(task, baseline, 1500, word, parameters, exact)
        for name, baseline in (("none", 0.0), ("value", rewards.mean().item()))
    }
    assert share or spread["value"] < 0.7 * spread["none"]


def test_the_value_learns_what_is_to_come_for_each_word():
    task = glimpsing()
    tape = Tape()
    torch.manual_seed(5)
    log_probs = said(task.model(PICTURE, WORDS, tape).flatten(0, 1), WORDS[0])
    values = torch.stack(tape.values, 1)
    ahead = torch.tensor([[2.0, 1.0]])
    gains = torch.stack([log_probs.sum(1), log_probs[:, 1]], 1)
    torch.manual_seed(5)
    numbers = task(batch(1))
    expected = (values - gains / ahead).square().mean()
    torch.testing.assert_close(numbers["value_error"], expected)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_value_learns_from_its_error_and_not_as_a_baseline(weight):
    task = glimpsing()
    task.config = replace(task.config, value=weight)
    torch.manual_seed(5)
    numbers = task(batch(3))
    parameters = list(task.model.decoder.gaze.value.parameters())
    found = grad(numbers["loss"], parameters, retain_graph=True)
    for gradient, of_error in zip(found, grad(numbers["value_error"], parameters), strict=True):
        assert of_error.abs().max() > 1e-3
        torch.testing.assert_close(gradient, 2 * weight * of_error)  # two words a caption


def test_the_value_learns_from_draws_alone():
    for share in (0.0, 1.0):
        task = glimpsing(AT_CELLS, expected_share=share)
        task.config = replace(task.config, value=0.7)
        found = grad(task(batch(3))["loss"], list(task.model.decoder.gaze.value.parameters()))
        assert all((x.abs().max() > 1e-3) == (share == 0) for x in found)


def test_a_spread_choice_of_cells_is_rewarded():
    losses = []
    for weight in (0.0, 0.5):
        task = glimpsing(AT_CELLS, entropy=weight, expected_share=0.0)
        torch.manual_seed(7)
        losses.append(task(batch(1)))
    policy, sight = task.model.decoder.gaze.policy, task.model.look_at(PICTURE)
    state, spread = task.model.decoder.begin(sight, 1), 0.0
    torch.manual_seed(7)
    draws = Manner(True)
    for word, given in enumerate((1, 5)):
        weights = shares(policy, state[0], sight)
        spread -= (weights * weights.log()).sum()
        state = task.model.decoder.step(torch.tensor([[given]]), state, sight, word, draws).state
    torch.testing.assert_close(losses[0]["loss"] - losses[1]["loss"], 0.5 * spread)
    torch.testing.assert_close(losses[0]["look_entropy"], spread / 2)
