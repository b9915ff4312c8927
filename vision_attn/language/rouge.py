"""ROUGE-L: the words that a caption and a reference have in the same order."""

from collections.abc import Sequence

from vision_attn.language.ngrams import Caption, check

BETA = 1.2
"""Weight of recall over precision."""


def rouge_l(candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]) -> float:
    """Score one candidate an image against its references; the mean over images, [0, 1].

    Precision and recall are each the best over the references. Equals pycocoevalcap's. Lin 2004.
    """
    check(candidates, references)
    pairs = zip(candidates, references, strict=True)
    return sum(_score(*pair) for pair in pairs) / len(candidates)


def _score(candidate: Caption, captions: Sequence[Caption]) -> float:
    common = [longest_common(candidate, caption) for caption in captions]
    if not any(common):
        return 0.0
    precision = max(common) / len(candidate)
    recall = max(n / len(caption) for n, caption in zip(common, captions, strict=True) if n)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(first: Caption, second: Caption) -> int:
    """Count the words of the longest common subsequence."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = before + 1 if word == other else max(above, lengths[place - 1])
            before = above
    return lengths[-1]
