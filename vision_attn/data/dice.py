"""Whole numbers by chance, the same on every platform and for good."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

Choice = TypeVar("Choice")

STREAMS = ("train", "valid", "test")
"""Splits, each of which draws from a stream of its own."""


class Dice:
    """Draw from a stream named by seed, split, index and purpose.

    Philox is counter-based (Salmon 2011), so any stream is reached at once; numpy promises that its
    raw words never change, which it does not of what is derived from them.
    """

    def __init__(self, seed: int, split: str, index: int, purpose: int = 0):
        counter = np.array([0, 0, purpose, STREAMS.index(split)], dtype=np.uint64)
        self._bits = np.random.Philox(key=np.array([seed, index], dtype=np.uint64), counter=counter)
        self._words: list[int] = []

    def between(self, low: int, high: int) -> int:
        """Draw from low to high, both included."""
        if not self._words:
            self._words = self._bits.random_raw(64).tolist()
        return low + self._words.pop() % (high - low + 1)

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Draw one of some choices."""
        return choices[self.between(0, len(choices) - 1)]

    def chance(self, percent: int) -> bool:
        """Say yes in so many of a hundred cases."""
        return self.between(0, 99) < percent

    def shuffled(self, choices: Sequence[Choice]) -> list[Choice]:
        """Draw an order."""
        left = list(choices)
        return [left.pop(self.between(0, len(left) - 1)) for _ in choices]

    def bytes(self, count: int) -> UInt8[np.ndarray, " byte"]:
        """Draw bytes; little-endian on every machine."""
        return self._bits.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count]
