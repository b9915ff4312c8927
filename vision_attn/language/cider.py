"""CIDEr-D: how much of what is special to an image a caption says."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from vision_attn.language.ngrams import LONGEST, Caption, check, ngrams

SIGMA = 6.0
"""Difference in length, in words, that costs a factor of exp(-1/2)."""


class _Vector(NamedTuple):
    """Weigh the runs of words of a caption, by their length less one."""

    weights: list[dict[tuple, float]]
    norms: list[float]
    length: int


class CiderD:
    """Score captions by the runs of words they share with references, rare runs weighing most.

    How rare a run is, the references of a whole set say: pass those of the training split for a
    reward. Equals pycocoevalcap's `Cider`. Vedantam 2015 (arXiv:1411.5726).
    """

    def __init__(self, references: Sequence[Sequence[Caption]]):
        if not references:
            raise ValueError("document frequencies need the captions of an image, got none")
        images: Counter[tuple] = Counter()
        for captions in references:
            images.update({run for x in captions for counts in ngrams(x) for run in counts})
        self.unseen = math.log(len(references))
        """Weight of a run that no reference has."""
        self.rarity = {run: self.unseen - math.log(count) for run, count in images.items()}

    def scores(
        self, candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]
    ) -> Float64[np.ndarray, " caption"]:
        """Score each candidate against the references of its image, [0, 10]."""
        check(candidates, references)
        known: dict[tuple, _Vector] = {}
        found = [
            sum(_likeness(self._vector(candidate, known), self._vector(x, known)) for x in captions)
            / len(captions)
            for candidate, captions in zip(candidates, references, strict=True)
        ]
        return 10 * np.array(found)

    def _vector(self, caption: Caption, known: dict[tuple, _Vector]) -> _Vector:
        """Weigh the runs of a caption, once for each caption in `known`."""
        words = tuple(caption)
        if words not in known:
            weights = [
                {run: n * self.rarity.get(run, self.unseen) for run, n in counts.items()}
                for counts in ngrams(words)
            ]
            norms = [math.sqrt(sum(x * x for x in part.values())) for part in weights]
            # The reference scorer counts pairs of words and calls it the length.
            known[words] = _Vector(weights, norms, max(len(words) - 1, 0))
        return known[words]


def _likeness(candidate: _Vector, reference: _Vector) -> float:
    """Average the cosines over run lengths, with weights clipped, and punish other lengths."""
    total = 0.0
    for size in range(LONGEST):
        ours, theirs = candidate.weights[size], reference.weights[size]
        common = sum(
            min(ours[run], theirs[run]) * theirs[run] for run in ours.keys() & theirs.keys()
        )
        if common:
            total += common / (candidate.norms[size] * reference.norms[size])
    difference = candidate.length - reference.length
    return total / LONGEST * math.exp(-(difference**2) / (2 * SIGMA**2))
