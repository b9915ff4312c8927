"""Randomness by counting: a number for (seed, epoch, index, draw), whoever asks and whenever."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, UInt64

from vision_attn.data.batch import Key


def uniforms(seed: int, keys: Sequence[Key], draws: int) -> Float64[np.ndarray, "batch {draws}"]:
    """Give so many independent numbers in [0, 1) for every key; a row depends on its key alone.

    Each part is hashed into the state by the finaliser of SplitMix64: Steele, Lea, Flood 2014.
    """
    parts = np.array(keys, dtype=np.int64).reshape(-1, 2).astype(np.uint64)
    state = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    for part in parts.T:
        state = _mixed(state ^ part)
    numbers = _mixed(state[:, None] ^ np.arange(draws, dtype=np.uint64))
    return (numbers >> np.uint64(11)) * 2.0**-53


def _mixed(state: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Step and scramble 64-bit states, modulo 2**64."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
