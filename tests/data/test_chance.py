import numpy as np
import pytest

from vision_attn.data.chance import uniforms

KEYS = [(epoch, index) for epoch in range(31) for index in range(97)]


def splitmix(state: int) -> int:
    """SplitMix64 with Python's unbounded integers."""
    wrap = 2**64 - 1
    state = (state + 0x9E3779B97F4A7C15) & wrap
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & wrap
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & wrap
    return state ^ (state >> 31)


def test_numbers_are_those_of_splitmix64():
    assert splitmix(0) == 0xE220A8397B1DCDAF  # the published first output for seed 0
    seed, epoch, index, draw = 11, 3, 1_000_003, 5
    state = splitmix(splitmix(splitmix(splitmix(seed) ^ epoch) ^ index) ^ draw)
    assert uniforms(seed, [(epoch, index)], 7)[0, draw] == (state >> 11) * 2.0**-53


def test_a_row_depends_on_its_key_alone():
    whole = uniforms(5, KEYS, 3)
    some = np.random.default_rng(0).permutation(len(KEYS))[:211]
    assert np.array_equal(uniforms(5, [KEYS[i] for i in some], 3), whole[some])
    assert np.array_equal(uniforms(5, KEYS, 2), whole[:, :2])


def test_numbers_are_uniform_and_uncorrelated():
    numbers = uniforms(5, KEYS, 3).reshape(31, 97, 3)
    assert 0 <= numbers.min() < numbers.max() < 1
    flat = numbers.reshape(-1, 3)
    counts = np.stack([np.histogram(flat[:, d], bins=10, range=(0, 1))[0] for d in range(3)])
    expected = len(KEYS) / 10
    assert np.all(((counts - expected) ** 2 / expected).sum(1) < 27.9)  # chi-squared, 9, 0.1 %
    pairs = [
        (flat[:, 0], flat[:, 1]),
        (numbers[1:, :, 0].ravel(), numbers[:-1, :, 0].ravel()),
        (numbers[:, 1:, 0].ravel(), numbers[:, :-1, 0].ravel()),
        (flat[:, 0], uniforms(6, KEYS, 3)[:, 0]),
    ]
    for one, other in pairs:
        assert abs(np.corrcoef(one, other)[0, 1]) < 3.3 / np.sqrt(len(one))


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_any_whole_number_is_a_seed(seed: int):
    assert np.array_equal(uniforms(seed, KEYS[:5], 2), uniforms(seed % 2**64, KEYS[:5], 2))


def test_no_keys_give_no_rows():
    assert uniforms(0, [], 3).shape == (0, 3)
