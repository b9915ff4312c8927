"""REINFORCE through drawn looks against all there are."""

import itertools

import pytest
import torch
from torch.autograd import grad
from two_words import PICTURE, SPEC, WORDS, batch

from vision_attn.attention.look import TINY, Look, probabilities
from vision_attn.data.batch import Captioned
from vision_attn.models.caption_config import (
    CaptionerConfig,
    LSTMDecoderConfig,
)
from vision_attn.models.config import ResNetConfig
from vision_attn.tape import Tape
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.tasks.caption_losses import said

RESNET = ResNetConfig(
    depths=(1, 1, 1, 1), channels=(4, 4, 4, 8), stem="small", stem_stride=2, strides=(1, 2, 1, 1)
)
REGIONS = 3


def make(**task):
    """Build a task whose looks matter to its words; in training mode, without batch statistics."""
    torch.manual_seed(2)
    decoder = LSTMDecoderConfig(dim=8, look="hard")
    model = CaptionerConfig(encoder=RESNET, decoder=decoder).build(SPEC)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            if not name.startswith("embed"):
                parameter.mul_(1.3)
    settings = {"reinforce": 1.0, "entropy": 0.0, "expected_share": 0.0} | task
    built = CaptioningConfig(**settings).build(model, SPEC).train()
    model.encoder.eval()
    return built


def policy(task):
    """Name what decides where to look, and one weight that looks and words share."""
    named = dict(task.model.decoder.named_parameters())
    return [named["gaze.alignment.score.compared.weight"], named["recurrent.weight"]]


def forced(task, places):
    """Give log-probabilities of the words, and of the looks, that take these places in turn."""
    gaze, turn, tape = task.model.decoder.gaze, iter(places), Tape()

    def decide(weights, values, manner):
        place = torch.full(weights.shape[:-1], next(turn))
        log_prob = probabilities(weights).clamp_min(TINY).log().gather(-1, place[..., None])
        return Look(values[:, :, place[0, 0]], place, log_prob[..., 0])

    gaze._decide = decide
    words = said(task.model(PICTURE, WORDS, tape)[0], WORDS[0]).sum()
    del gaze._decide
    return words, torch.stack(tape.log_probs, 1).sum()


def expected_gradient(task):
    """Differentiate the expectation of the words' log-probability over all sequences of places."""
    total = 0.0
    for places in itertools.product(range(REGIONS), repeat=2):
        words, looks = forced(task, places)
        total = total + looks.exp() * words
    return total, grad(total, policy(task))


def estimates(task, count, chunks, seed=7):
    """Give the task's gradients, by chunks of draws."""
    torch.manual_seed(seed)
    found = []
    for _ in range(chunks):
        loss = task(batch(count // chunks))["loss"]
        found.append([-x for x in grad(loss, policy(task))])
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def set_baseline(task, values, momentum=1.0):
    task.baseline.values[: len(values)] = torch.tensor(values)
    task.baseline.known[:] = True
    task.baseline.momentum = momentum


@pytest.mark.parametrize("reward", ["rest", "caption"])
def test_the_estimate_has_no_bias_and_a_baseline_less_variance(reward):
    task = make(reward=reward)
    level, expected = expected_gradient(task)
    # Words and looks disagree enough for the draws to matter.
    assert expected[0].abs().max() > 0.04
    spread = {}
    for name, baseline in (("none", [0.0, 0.0]), ("moving", [level.item(), level.item() / 2])):
        set_baseline(task, baseline[: 1 if reward == "caption" else 2])
        found = estimates(task, 36_000, 48)
        for estimate, exact in zip(found, expected, strict=True):
            bias, error = (estimate.mean(0) - exact).abs(), estimate.std(0) / len(estimate) ** 0.5
            assert bias.max() < 0.01
            assert (bias <= 4 * error + 1e-5).all()
        spread[name] = sum(x.var(0).sum().item() for x in found)
    print(f"variance with reward={reward}: {spread}")
    assert spread["moving"] < 0.7 * spread["none"]


@pytest.mark.parametrize("reward", ["rest", "caption"])
def test_other_rollouts_of_a_caption_are_a_baseline_without_bias(reward):
    _, expected = expected_gradient(make())
    task, spread = make(reward=reward, rollouts=4), {}
    found = estimates(task, 9_000, 48)
    for estimate, exact in zip(found, expected, strict=True):
        bias, error = (estimate.mean(0) - exact).abs(), estimate.std(0) / len(estimate) ** 0.5
        assert bias.max() < 0.01
        assert (bias <= 4 * error + 1e-5).all()
    spread["rollouts"] = sum(x.var(0).sum().item() for x in found)
    alone = make(reward=reward)
    set_baseline(alone, [0.0, 0.0][: 1 if reward == "caption" else 2])
    as_many_draws = estimates(alone, 36_000, 48)
    spread["none"] = sum(x.var(0).sum().item() for x in as_many_draws)
    assert spread["rollouts"] < 0.7 * spread["none"]


def test_the_rest_of_the_caption_varies_less_than_the_whole():
    spread = {}
    for reward in ("rest", "caption"):
        task = make(reward=reward)
        set_baseline(task, [0.0, 0.0][: 1 if reward == "caption" else 2])
        spread[reward] = sum(x.var(0).sum().item() for x in estimates(task, 4000, 40))
    assert spread["rest"] < spread["caption"]


def test_expected_values_stand_in_for_half_of_the_images():
    task = make(expected_share=0.5)
    _, of_draws = expected_gradient(task)
    task.model.decoder.gaze.kind = "soft"
    words = said(task.model(PICTURE, WORDS)[0], WORDS[0]).sum()
    of_mean = grad(words, policy(task))
    task.model.decoder.gaze.kind = "hard"
    set_baseline(task, [-3.0, -1.5])
    for estimate, draws, mean in zip(estimates(task, 12_000, 48), of_draws, of_mean, strict=True):
        error = estimate.std(0) / len(estimate) ** 0.5
        difference = (estimate.mean(0) - (draws + mean) / 2).abs()
        assert difference.max() < max(0.01, 4 * error.max().item())


def test_the_moving_baseline_leaves_expected_values_out():
    task = make(expected_share=0.5)
    set_baseline(task, [0.0, 0.0], momentum=0.0)
    torch.manual_seed(3)
    task(batch(4000))
    level, _ = expected_gradient(task)
    assert task.baseline.values[0].item() == pytest.approx(level.item(), abs=0.05)


def test_entropy_is_rewarded_for_real_words_only():
    torch.manual_seed(3)
    losses = []
    for weight in (0.0, 0.5):
        task = make(entropy=weight, reinforce=0.0)
        words = torch.cat([WORDS, torch.zeros_like(WORDS)], 2)
        padded = Captioned(PICTURE, words, torch.tensor([[2]]), [], [])
        torch.manual_seed(11)
        losses.append(task(padded)["loss"])
        torch.manual_seed(11)
        torch.testing.assert_close(task(batch(1))["loss"], losses[-1])
    torch.manual_seed(11)
    tape = Tape()
    task.model(PICTURE, WORDS, tape)
    shares = tape.looks[0]
    entropy = -(shares * shares.log()).sum()
    torch.testing.assert_close(losses[0] - losses[1], 0.5 * entropy)
