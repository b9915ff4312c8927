"""Runs of words, the matter of most scores."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeAlias

Caption: TypeAlias = Sequence[Hashable]
"""Words, or their numbers."""
LONGEST = 4
"""Words of the longest runs that BLEU and CIDEr count."""


def ngrams(caption: Caption, longest: int = LONGEST) -> list[Counter[tuple]]:
    """Count the runs of 1, 2, ... words of a caption, a counter for each length."""
    words = tuple(caption)
    return [
        Counter(zip(*(words[start:] for start in range(size)), strict=False))
        for size in range(1, longest + 1)
    ]


def check(candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]) -> None:
    """Raise ValueError unless there is a candidate, and a reference, for each image."""
    if len(candidates) != len(references) or not candidates:
        raise ValueError(
            f"scores need one candidate an image, got {len(candidates)} candidates for "
            f"{len(references)} images"
        )
    for number, captions in enumerate(references):
        if not captions:
            raise ValueError(f"scores need a reference for each image, got none for {number}")
