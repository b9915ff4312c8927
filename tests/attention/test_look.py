"""Hard looks against exact enumeration: frequencies, log-probabilities and gradients."""

import itertools
import math

import pytest
import torch

from vision_attn.attention.look import entropy, hard, peak, soft, straight_through

WEIGHTS = torch.tensor([0.5, 0.2, 0.0, 0.3], dtype=torch.float64)
VALUES = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0], [13.0, 17.0]], dtype=torch.float64)


def test_soft_is_the_expected_value():
    context = soft(WEIGHTS[None], VALUES)
    expected = sum(w * v for w, v in zip(WEIGHTS, VALUES, strict=True))
    torch.testing.assert_close(context[0], expected)


@pytest.mark.parametrize("scale", [1.0, 0.37])  # a local window's weights sum to less than 1
@pytest.mark.parametrize("draw", [hard, lambda w, v, g: straight_through(w, v, 0.7, g)])
def test_places_are_drawn_as_often_as_their_weights_say(draw, scale):
    count = 100_000
    weights = (scale * WEIGHTS).expand(1, count, 4)
    look = draw(weights, VALUES[None], torch.Generator().manual_seed(17))
    frequencies = torch.bincount(look.place[0], minlength=4) / count
    margin = 4 * (WEIGHTS * (1 - WEIGHTS) / count).sqrt()
    assert ((frequencies - WEIGHTS).abs() <= margin).all()
    torch.testing.assert_close(look.context, VALUES[look.place])
    torch.testing.assert_close(look.log_prob, WEIGHTS[look.place].log())


def test_draws_depend_on_the_generator_alone():
    weights = torch.rand(3, 5, 7)
    values = torch.rand(3, 7, 2)
    first, second = (hard(weights, values, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.place, second.place)
    before = torch.get_rng_state()
    hard(weights, values, torch.Generator().manual_seed(6))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_one_decides():
    weights, values = torch.rand(3, 5, 7), torch.rand(3, 7, 2)
    places = []
    for _ in range(2):
        torch.manual_seed(5)
        places.append(hard(weights, values).place)
    assert torch.equal(*places)


def test_expected_entries_see_the_mean_and_learn_from_it_and_others_draw():
    torch.manual_seed(37)
    scores = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    values = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    weights, expected = scores.softmax(-1), torch.tensor([True, False])
    look = hard(weights, values, torch.Generator().manual_seed(5), expected)
    torch.testing.assert_close(look.context[0], soft(weights, values)[0])
    torch.testing.assert_close(look.context[1], values[1, look.place[1]])
    assert torch.equal(look.place, hard(weights, values, torch.Generator().manual_seed(5)).place)
    assert not look.log_prob[0].any()
    assert look.log_prob[1].all()

    (mean,) = torch.autograd.grad(soft(weights, values)[0].sin().sum(), scores, retain_graph=True)
    found, moved = torch.autograd.grad(look.context.sin().sum(), (scores, values))
    torch.testing.assert_close(found[0], mean[0])
    assert not found[1].any()
    counts = torch.bincount(look.place[1], minlength=7).unsqueeze(1)
    torch.testing.assert_close(moved[1], counts * values[1].detach().cos())


def test_peak_takes_the_largest_weight():
    look = peak(WEIGHTS[None], VALUES)
    assert look.place.tolist() == [0]
    torch.testing.assert_close(look.context[0], VALUES[0])
    torch.testing.assert_close(look.log_prob[0], WEIGHTS[0].log())


def test_entropy_of_known_distributions():
    torch.testing.assert_close(entropy(torch.full((1, 8), 0.125)), torch.tensor([math.log(8)]))
    assert entropy(torch.tensor([[0.0, 1.0, 0.0]])).item() == 0
    expected = -sum(w * math.log(w) for w in WEIGHTS.tolist() if w)
    assert entropy(0.4 * WEIGHTS[None]).item() == pytest.approx(expected)


def reward(places, values):
    """Nonlinear, so that the expected value's gradient is not that of the expectation."""
    return (values[places].sum(-1) / 9).sin()


def test_score_function_gradient_has_no_bias_and_a_baseline_less_variance():
    torch.manual_seed(19)
    scores = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)

    def exact():
        weights = scores.softmax(-1)
        total = 0.0
        for first, second in itertools.product(range(4), repeat=2):
            places = torch.tensor([first, second])
            total = total + weights[0, first] * weights[1, second] * reward(places, VALUES).sum()
        return total

    (expected,) = torch.autograd.grad(exact(), scores)
    level = exact().item()
    count = 40_000
    generator = torch.Generator().manual_seed(23)
    copies = scores.detach().expand(count, 2, 4).clone().requires_grad_()
    look = hard(copies.softmax(-1), VALUES.expand(count, 4, 2), generator)
    gained = reward(look.place, VALUES).sum(-1)
    found = {}
    for baseline in (0.0, level):
        surrogate = ((gained - baseline)[:, None] * look.log_prob).sum()
        (each,) = torch.autograd.grad(surrogate, copies, retain_graph=True)
        found[baseline] = each.mean(0), each.var(0).sum().item()
        assert (each.mean(0) - expected).abs().max() < 0.01
    assert found[level][1] < 0.5 * found[0.0][1]


def test_straight_through_passes_the_relaxed_gradient():
    torch.manual_seed(29)
    scores = torch.randn(1, 4, dtype=torch.float64, requires_grad=True)
    temperature = 0.6
    look = straight_through(
        scores.softmax(-1), VALUES, temperature, torch.Generator().manual_seed(31)
    )
    torch.testing.assert_close(look.context[0], VALUES[look.place[0]])
    (found,) = torch.autograd.grad(look.context[0, 1], scores)

    noise = torch.empty(1, 4, dtype=torch.float64)
    noise.exponential_(generator=torch.Generator().manual_seed(31))
    relaxed = ((scores.log_softmax(-1) - noise.log()) / temperature).softmax(-1)
    (expected,) = torch.autograd.grad((relaxed @ VALUES)[0, 1], scores)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 1e-3


def test_a_lower_temperature_comes_nearer_to_a_draw():
    weights = torch.tensor([[0.6, 0.3, 0.1]], requires_grad=True)
    values = torch.tensor([[1.0], [2.0], [4.0]])
    spread = []
    for temperature in (1.0, 0.05):
        look = straight_through(weights, values, temperature, torch.Generator().manual_seed(2))
        (gradient,) = torch.autograd.grad(look.context.sum(), weights)
        spread.append(gradient.abs().sum().item())
    assert spread[1] < spread[0]
