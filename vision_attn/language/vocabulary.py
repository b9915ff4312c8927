"""The words a caption may be made of, and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("<pad>", "<start>", "<end>", "<unknown>")
"""Names of the numbers above; no token of a text looks like them."""


class Vocabulary:
    """Number words; `names[number]` is the word, and the first four are no words."""

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        if self.names[: len(SPECIALS)] != SPECIALS:
            raise ValueError(
                f"a vocabulary must begin with {', '.join(SPECIALS)}, got {self.names[:4]}"
            )
        self.numbers = {name: number for number, name in enumerate(self.names)}
        if len(self.numbers) < len(self.names):
            twice = [name for name, count in Counter(self.names).items() if count > 1]
            raise ValueError(f"a vocabulary must hold every word once, got {twice[:5]} again")

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]], minimum: int) -> "Vocabulary":
        """Take the words that occur at least `minimum` times, the most frequent one first.

        Give it the captions of the training split only. Equally frequent words come in
        alphabetical order.
        """
        if minimum < 1:
            raise ValueError(f"minimum must be 1 or more occurrences, got {minimum}")
        counts = Counter(word for words in captions for word in words)
        kept = [word for word, count in counts.items() if count >= minimum]
        return cls((*SPECIALS, *sorted(kept, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Number the words of a caption and end it; there is no start in front."""
        return [*(self.numbers.get(word, UNKNOWN) for word in words), END]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Give the words up to the end, without what is no word."""
        words: list[str] = []
        for number in numbers:
            if number == END:
                break
            if number >= len(SPECIALS):
                words.append(self.names[number])
        return words
