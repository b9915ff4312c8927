import pytest
import torch
from scipy.stats import binomtest

from vision_attn.report.interval import Estimate, average, estimate, share


@pytest.mark.parametrize(("hits", "images"), [(0, 7), (5, 11), (97, 101), (13, 13)])
def test_share_agrees_with_scipy(hits, images):
    expected = binomtest(hits, images).proportion_ci(0.95, method="wilson")
    got = share(hits, images)
    assert got.value == hits / images
    assert got.images == images
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("hits", "images"), [(3, 2), (-1, 5), (0, 0)])
def test_share_refuses_impossible_counts(hits, images):
    with pytest.raises(ValueError, match="hits must be in"):
        share(hits, images)


def test_average_of_many_values_approaches_the_normal_interval():
    values = torch.randn(997, generator=torch.Generator().manual_seed(3)) * 2 + 5
    got = average(values, torch.Generator().manual_seed(5), resamples=4000)
    half = 1.96 * values.std().item() / 997**0.5
    assert got.value == pytest.approx(values.mean().item(), abs=1e-6)
    assert got.low == pytest.approx(got.value - half, abs=0.1 * half)
    assert got.high == pytest.approx(got.value + half, abs=0.1 * half)


def test_average_depends_on_the_generator_only():
    values = torch.rand(31, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    first = average(values, torch.Generator().manual_seed(7))
    assert first == average(values, torch.Generator().manual_seed(7))
    assert first != average(values, torch.Generator().manual_seed(8))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_average_refuses_what_has_no_mean(values):
    with pytest.raises(ValueError, match="at least one value"):
        average(torch.tensor(values), torch.Generator())


def test_zeros_and_ones_are_a_share_and_all_else_a_mean():
    hits = torch.tensor([1.0] * 17)
    assert estimate(hits, torch.Generator()) == share(17, 17)
    assert estimate(hits / 2, torch.Generator()) == (0.5, 0.5, 0.5, 17)


def test_overlap_is_symmetric_and_includes_touching():
    low, middle, high = (Estimate(0, a, b, 3) for a, b in [(0.0, 0.2), (0.2, 0.5), (0.6, 0.7)])
    assert low.overlaps(middle)
    assert middle.overlaps(low)
    assert not middle.overlaps(high)
    assert not high.overlaps(middle)
