"""What a policy learns from, by sums and loops."""

import torch

from vision_attn.tasks.reinforce import over_others, scaled, stopping, to_go

NUMBERS = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_rewards_to_go_are_those_of_the_step_and_after():
    for row, (given, found) in enumerate(zip(NUMBERS, to_go(NUMBERS), strict=True)):
        for step in range(5):
            assert torch.isclose(found[step], NUMBERS[row, step:].sum())
            assert torch.equal(given, NUMBERS[row])


def test_a_rollout_is_held_against_the_others_of_its_image():
    found = over_others(NUMBERS, 3)
    for row in range(6):
        group = range(row // 3 * 3, row // 3 * 3 + 3)
        others = torch.stack([NUMBERS[other] for other in group if other != row])
        torch.testing.assert_close(found[row], NUMBERS[row] - others.mean(0))


def test_scaled_advantages_have_a_mean_square_of_one():
    assert torch.isclose(scaled(NUMBERS * 7).square().mean(), torch.tensor(1.0).double())
    assert torch.equal(scaled(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_ends_are_as_likely_as_going_on_until_then_and_stopping():
    stops = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.4, 0.0], [0.0, 0.0, 0.9]])
    expected = torch.tensor([[0.2, 0.4, 0.4], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(stopping(stops), expected)
