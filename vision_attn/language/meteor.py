"""METEOR with exact and stem matches: words aligned one to one, in as few pieces as possible."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import snowballstemmer

from vision_attn.language.ngrams import check

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""Recall over precision, shape and size of the penalty for pieces, content over function words."""
STEM = 0.6
"""Worth of a word matched by its stem; one matched exactly is worth 1."""
BEAM = 40
"""Partial alignments kept at a time."""
_FREQUENT = """
the to of and a in that for is on 's it with was as said at he by be from have has are his but an
this not i will they -rrb- -lrb- who their had we which were been more or s its would about new one
after you also up when there than $ all out her people she year two can if last first over other
into some what so no time years could 't
"""
FUNCTION_WORDS = frozenset(_FREQUENT.split())
"""Words of a frequency above 1 in 1,000, as METEOR 1.5 lists them."""

_stemmer = snowballstemmer.stemmer("english")

_Partial: TypeAlias = tuple[float, int, int, int, tuple[int, ...]]
"""Worth lost, pieces, displacement, candidate words used (bits) and places so far."""


class _Counts(NamedTuple):
    """Add up what a score is made of, so that a set is scored as one text."""

    candidate: float = 0.0
    """Words, each with its weight."""
    reference: float = 0.0
    matched: float = 0.0
    """Candidate words with their weights and the worth of their matches."""
    covered: float = 0.0
    """Likewise of the reference."""
    matches: float = 0.0
    pieces: float = 0.0


def meteor_exact_stem(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> float:
    """Score one candidate an image against the reference that suits it best, all as one text.

    The formula and parameters of METEOR 1.5 for English, without its synonyms and paraphrases, for
    which its scores are higher. The Java program with these two matchers drops some stem matches
    where a word has several partners; whole sets differ by less than 0.001. Denkowski, Lavie 2014.
    """
    check(candidates, references)
    total = _Counts()
    for candidate, captions in zip(candidates, references, strict=True):
        best = max((_counts(candidate, caption) for caption in captions), key=_score)
        total = _Counts(*(a + b for a, b in zip(total, best, strict=True)))
    return _score(total)


def align(candidate: Sequence[str], reference: Sequence[str]) -> tuple[int, ...]:
    """Give the place in the candidate of each reference word, -1 for none.

    Matches are worth as much as possible, lie in as few pieces as possible, and are displaced least
    in total: a beam search over the words of the reference.
    """
    stems = [stem(word) for word in candidate]
    beam: list[_Partial] = [(0.0, 0, 0, 0, ())]
    for place, word in enumerate(reference):
        choices = [k for k, other in enumerate(stems) if other == stem(word)]
        best: dict[tuple[int, int], _Partial] = {}
        for partial in beam:
            for k in (*choices, -1):
                if k >= 0 and partial[3] >> k & 1:
                    continue
                worth = 0.0 if k < 0 else 1.0 if candidate[k] == word else STEM
                longer = _extended(partial, place, k, worth)
                same = longer[3], k  # what comes after depends on nothing else
                if same not in best or longer < best[same]:
                    best[same] = longer
        beam = sorted(best.values())[:BEAM]
    return beam[0][-1]


def _extended(partial: _Partial, place: int, choice: int, worth: float) -> _Partial:
    """Match one more word of the reference, or pass it over (-1)."""
    lost, pieces, distance, used, places = partial
    if choice < 0:
        return lost + 1, pieces, distance, used, (*places, -1)
    goes_on = choice > 0 and bool(places) and places[-1] == choice - 1
    return (
        lost + 1 - worth,
        pieces + (not goes_on),
        distance + abs(choice - place),
        used | 1 << choice,
        (*places, choice),
    )


def _counts(candidate: Sequence[str], reference: Sequence[str]) -> _Counts:
    places = align(candidate, reference)
    pairs = [(candidate[k], reference[i]) for i, k in enumerate(places) if k >= 0]
    worth = [1.0 if ours == theirs else STEM for ours, theirs in pairs]
    followed = sum(k >= 0 and after == k + 1 for k, after in pairwise(places))
    pieces = len(pairs) - followed
    whole = pieces == 1 and len(pairs) == len(candidate) == len(reference)
    return _Counts(
        sum(map(_weight, candidate)),
        sum(map(_weight, reference)),
        sum(x * _weight(ours) for x, (ours, _) in zip(worth, pairs, strict=True)),
        sum(x * _weight(theirs) for x, (_, theirs) in zip(worth, pairs, strict=True)),
        len(pairs),
        0 if whole else pieces,
    )


def _score(counts: _Counts) -> float:
    """Weigh precision and recall, less the penalty for matches in many pieces."""
    if not counts.matched or not counts.covered:
        return 0.0
    precision, recall = counts.matched / counts.candidate, counts.covered / counts.reference
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * (counts.pieces / counts.matches) ** BETA)


def _weight(word: str) -> float:
    return 1 - DELTA if word in FUNCTION_WORDS else DELTA


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Cut a word's ending off (Snowball's English stemmer, Porter 2001)."""
    return _stemmer.stemWord(word)
