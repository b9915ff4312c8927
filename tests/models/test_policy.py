"""Policies: log-probabilities of unclamped samples, and gradients only where they belong."""

import math

import pytest
import torch
from torch.distributions import Normal

from vision_attn.models.policy import Categorical, Context, Gaussian, anywhere

STATES = torch.randn(11, 7, generator=torch.Generator().manual_seed(2))


def make(policy, **settings):
    torch.manual_seed(3)
    defaults = {"sigma": 0.6, "sigma_final": None}
    if policy is Categorical:
        defaults = {"grid": 3, "temperature_final": 0.5}
    return policy(7, **(defaults | settings)).double()


def test_log_probability_is_that_of_the_unclamped_sample_summed_over_x_and_y():
    policy, states = make(Gaussian, sigma=1.5), STATES.double()
    torch.manual_seed(5)
    choice = policy(states)
    torch.manual_seed(5)
    mean = policy.mean(states).float().tanh()
    sample = mean + 1.5 * torch.randn(11, 2)
    expected = Normal(mean, 1.5).log_prob(sample).sum(1)
    assert (sample.abs() > 1).any()
    torch.testing.assert_close(choice.log_prob, expected)
    torch.testing.assert_close(choice.centre, sample.clamp(-1, 1))


def test_a_gaussian_place_gives_no_gradient_but_its_log_probability_does():
    policy = make(Gaussian)
    choice = policy(STATES.double())
    assert not choice.centre.requires_grad
    choice.log_prob.sum().backward()
    assert policy.mean.weight.grad.abs().max() > 0


def test_the_gradient_of_a_gaussian_is_the_score():
    """d log N / d mean = (sample - mean) / sigma², through the tanh."""
    policy, states = make(Gaussian), STATES[:1].double()
    torch.manual_seed(5)
    choice = policy(states)
    choice.log_prob.backward()
    torch.manual_seed(5)
    mean = policy.mean(states).float().tanh().detach()
    noise = torch.randn(1, 2)
    score = noise / 0.6 * (1 - mean**2)
    torch.testing.assert_close(policy.mean.bias.grad, score[0].double(), rtol=1e-5, atol=1e-6)


def test_a_pathwise_gaussian_place_carries_the_gradient_of_its_mean():
    policy = make(Gaussian, sigma=0.01)
    policy.pathwise = True
    choice = policy(STATES.double())
    assert choice.log_prob is None
    (gradient,) = torch.autograd.grad(choice.centre.sum(), policy.mean.bias)
    mean = policy.mean(STATES.double()).tanh()
    torch.testing.assert_close(gradient, (1 - mean**2).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", [Gaussian, Categorical])
def test_evaluation_draws_nothing(policy):
    policy = make(policy).eval()
    before = torch.get_rng_state()
    first, second = policy(STATES.double()), policy(STATES.double())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.centre, second.centre)
    assert first.log_prob is None
    assert not first.centre.requires_grad


def test_evaluation_takes_the_mean_and_the_likeliest_place():
    gaussian, states = make(Gaussian).eval(), STATES.double()
    torch.testing.assert_close(gaussian(states).centre, gaussian.mean(states).float().tanh())
    categorical = make(Categorical).eval()
    best = categorical.score(states).argmax(1)
    assert torch.equal(categorical(states).centre, categorical.places[best].float())


def test_places_of_a_grid_are_the_middles_of_its_cells_row_by_row():
    places = make(Categorical, grid=2).places
    assert places.tolist() == [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]


def test_categorical_draws_follow_their_weights_and_tell_their_log_probability():
    policy = make(Categorical)
    states = STATES[:1].double().expand(6000, -1)
    choice = policy(states)
    weights = policy.score(states[:1]).float().softmax(1)[0]
    cells = ((choice.centre[:, None] - policy.places.float()).abs().sum(-1) < 1e-5).long()
    assert (cells.sum(1) == 1).all()
    shares = cells.double().mean(0)
    assert (shares - weights).abs().max() < 4 * math.sqrt(0.25 / 6000)
    torch.testing.assert_close(choice.log_prob, weights.log()[cells.argmax(1)])
    assert choice.weights.shape == (6000, 1, 1, 9)
    assert not choice.centre.requires_grad


def test_a_pathwise_categorical_place_is_hard_forward_and_soft_backward():
    policy = make(Categorical)
    policy.pathwise = True
    choice = policy(STATES.double())
    distances = (choice.centre[:, None] - policy.places.float()).abs().sum(-1).min(1).values
    assert distances.max() < 1e-5
    choice.centre.sum().backward()
    assert policy.score.weight.grad.abs().max() > 0


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_a_pathwise_categorical_gradient_is_that_of_a_softmax_at_its_temperature(progress):
    policy, states = make(Categorical, temperature_final=0.3), STATES.double()
    policy.pathwise = True
    policy.anneal(progress)
    torch.manual_seed(5)
    (found,) = torch.autograd.grad(policy(states).centre[:, 0].sum(), policy.score.bias)
    torch.manual_seed(5)
    noise = -torch.empty(11, 1, 9).exponential_()[:, 0].log()
    noisy = policy.score(states).float().log_softmax(1) + noise
    relaxed = (noisy / 0.3**progress).softmax(1) @ policy.places[:, 0].float()
    (expected,) = torch.autograd.grad(relaxed.sum(), policy.score.bias)
    torch.testing.assert_close(found, expected)


def test_spread_and_temperature_fall_by_equal_factors():
    gaussian, categorical = make(Gaussian, sigma=0.4, sigma_final=0.1), make(Categorical)
    for progress, sigma, temperature in ((0, 0.4, 1.0), (0.5, 0.2, 0.5**0.5), (1, 0.1, 0.5)):
        gaussian.anneal(progress)
        categorical.anneal(progress)
        assert gaussian.sigma == pytest.approx(sigma)
        assert categorical.temperature == pytest.approx(temperature)
    fixed = make(Gaussian, sigma=0.4)
    fixed.anneal(0.7)
    assert fixed.sigma == 0.4


def test_places_anywhere_depend_on_the_image_alone_in_evaluation():
    images = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    places = anywhere(images, 3, training=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert places.shape == (5, 3, 2)
    assert len(places.unique()) == 30
    assert places.abs().max() <= 1
    assert torch.equal(anywhere(images.flip(0), 3, training=False), places.flip(0))
    drawn = anywhere(images, 3, training=True)
    assert not torch.equal(anywhere(images, 3, training=True), drawn)


def test_a_context_reads_images_of_any_size():
    context = Context(2, 6)
    assert context(torch.rand(3, 2, 31, 17)).shape == (3, 6)
