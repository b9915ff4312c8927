"""BLEU: the share of a caption's runs of words that a reference has too."""

import math
from collections import Counter
from collections.abc import Sequence

from vision_attn.language.ngrams import LONGEST, Caption, check, ngrams

TINY, SMALL = 1e-15, 1e-9
"""Added by the reference scorer above and below each fraction, against divisions by zero."""


def bleu(
    candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]
) -> tuple[float, ...]:
    """Score one candidate an image against its references: BLEU-1 to BLEU-4 of the whole set.

    Each is the geometric mean of clipped precisions times a brevity penalty, for which the
    reference of the closest length counts. Equals pycocoevalcap's. Papineni 2002.
    """
    check(candidates, references)
    right, given = [0] * LONGEST, [0] * LONGEST
    length = closest = 0
    for candidate, captions in zip(candidates, references, strict=True):
        most = clipped(captions)
        for size, counts in enumerate(ngrams(candidate)):
            right[size] += sum(min(n, most[size][run]) for run, n in counts.items())
            given[size] += counts.total()
        length += len(candidate)
        closest += min((abs(len(x) - len(candidate)), len(x)) for x in captions)[1]
    ratio = (length + TINY) / (closest + SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, found = 1.0, []
    for size in range(LONGEST):
        product *= (right[size] + TINY) / (given[size] + SMALL)
        found.append(penalty * product ** (1 / (size + 1)))
    return tuple(found)


def clipped(captions: Sequence[Caption]) -> list[Counter[tuple]]:
    """Count each run as often as the caption that has most of it."""
    most = [Counter[tuple]() for _ in range(LONGEST)]
    for caption in captions:
        for size, counts in enumerate(ngrams(caption)):
            most[size] |= counts
    return most
