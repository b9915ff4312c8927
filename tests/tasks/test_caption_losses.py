"""The parts of the captioning loss against loops and closed forms, padding included."""

import math

import pytest
import torch

from vision_attn.tasks.caption_losses import (
    POSITIONS,
    MovingBaseline,
    doubly_stochastic,
    returns,
    said,
    smoothed,
)

WORDS = torch.tensor([[4, 6, 2, 0, 0], [5, 2, 0, 0, 0], [0, 0, 0, 0, 0], [4, 4, 5, 6, 2]])
REAL = WORDS != 0


def logits():
    return torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_log_probabilities_of_words_are_zero_for_padding():
    found, scores = said(logits(), WORDS), logits().exp()
    for row, column in torch.cartesian_prod(torch.arange(4), torch.arange(5)).tolist():
        word = WORDS[row, column]
        share = scores[row, column, word] / scores[row, column].sum()
        expected = math.log(share) if word else 0.0
        assert found[row, column].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_smoothing_spreads_the_target_over_all_words(share):
    found, log_probs = smoothed(logits(), WORDS, share), logits().log_softmax(-1)
    own = log_probs.gather(-1, WORDS[..., None])[..., 0]
    expected = -((1 - share) * own + share * log_probs.mean(-1)) * REAL
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", ["one", "share"])
def test_looks_add_up_over_real_words_only(target):
    generator = torch.Generator().manual_seed(5)
    looks = torch.rand(4, 2, 5, 3, generator=generator, dtype=torch.float64)
    found = doubly_stochastic(looks, REAL, target)
    for caption in range(4):
        total = 0.0
        for region in range(3):
            seen = sum(
                looks[caption, head, word, region].item() / 2
                for head in range(2)
                for word in range(5)
                if WORDS[caption, word]
            )
            wanted = REAL[caption].sum().item() / 3 if target == "share" else 1.0
            total += (wanted - seen) ** 2
        assert found[caption].item() == pytest.approx(total)


def test_looks_that_share_the_image_evenly_cost_nothing():
    looks = torch.full((1, 1, 5, 4), 0.25)
    real = torch.ones(1, 5, dtype=torch.bool)
    assert doubly_stochastic(looks, real, "share").item() == 0
    assert doubly_stochastic(looks, real, "one").item() == pytest.approx(4 * (1 - 5 / 4) ** 2)


def test_a_look_is_credited_with_the_words_from_it_on():
    log_probs = torch.tensor([[-1.0, -2.0, -4.0, 0.0]], requires_grad=True)
    rest, whole = returns(log_probs, "rest"), returns(log_probs, "caption")
    assert rest.tolist() == [[-7.0, -6.0, -4.0, 0.0]]
    assert whole.tolist() == [[-7.0] * 4]
    assert not rest.requires_grad
    assert not whole.requires_grad


def test_the_baseline_moves_by_a_tenth_for_each_place():
    baseline = MovingBaseline(shared=False)
    first = torch.tensor([[-8.0, -4.0, -2.0], [-4.0, -2.0, 0.0]])
    counted = torch.tensor([[True, True, True], [True, True, False]])
    assert baseline.advantages(first, counted).abs().sum() == 0  # nothing is known yet
    assert baseline.values[:4].tolist() == [-6.0, -3.0, -2.0, 0.0]
    second = torch.tensor([[-2.0, -1.0, 9.0]])
    counted = torch.tensor([[True, True, False]])
    assert baseline.advantages(second, counted).tolist() == [[4.0, 2.0, 0.0]]
    torch.testing.assert_close(baseline.values[:3], torch.tensor([-5.6, -2.8, -2.0]))


def test_one_baseline_may_serve_all_places():
    baseline = MovingBaseline(shared=True)
    gains = torch.tensor([[-6.0, -6.0], [-3.0, -3.0]])
    counted = torch.tensor([[True, True], [True, False]])
    baseline.advantages(gains, counted)
    assert baseline.values.tolist() == [-5.0]
    assert baseline.advantages(gains, counted).tolist() == [[-1.0, -1.0], [2.0, 0.0]]


def test_words_beyond_the_last_place_share_it():
    baseline = MovingBaseline(shared=False)
    gains = torch.arange(POSITIONS + 2.0)[None]
    baseline.advantages(gains, torch.ones_like(gains, dtype=torch.bool))
    assert baseline.values[-1].item() == POSITIONS  # the mean of the last three
    assert baseline.values[0].item() == 0


def test_no_gradient_enters_the_baseline():
    baseline = MovingBaseline(shared=True)
    gains = torch.tensor([[-6.0, -6.0]], requires_grad=True)
    counted = torch.ones(1, 2, dtype=torch.bool)
    baseline.advantages(gains, counted)
    advantages = baseline.advantages(gains, counted)
    (gradient,) = torch.autograd.grad(advantages.sum(), gains)
    assert gradient.tolist() == [[1.0, 1.0]]
    assert not baseline.values.requires_grad
    assert set(baseline.state_dict()) == {"values", "known"}
