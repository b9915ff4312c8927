"""All scores of a set of captions at once, and how varied they are."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from vision_attn.language.bleu import bleu
from vision_attn.language.cider import CiderD
from vision_attn.language.meteor import meteor_exact_stem
from vision_attn.language.rouge import rouge_l

Scorer: TypeAlias = Callable[[Sequence[Sequence[str]], Sequence[Sequence[Sequence[str]]]], float]
"""Scores one candidate an image against the references of each."""


def scores(
    candidates: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
    meteor: Scorer | None = None,
) -> dict[str, float]:
    """Score one candidate an image, in words, against the references of each image.

    Gives bleu1 to bleu4, rouge_l and meteor_exact_stem in [0, 1] and cider_d in [0, 10], whose
    document frequencies are those of these references: with a single image it is 0. Where METEOR's
    own program is given, `meteor` is what it finds.
    """
    numbers = {f"bleu{size}": x for size, x in enumerate(bleu(candidates, references), start=1)}
    numbers |= {
        "rouge_l": rouge_l(candidates, references),
        "cider_d": float(CiderD(references).scores(candidates, references).mean()),
        "meteor_exact_stem": meteor_exact_stem(candidates, references),
    }
    return numbers | ({"meteor": meteor(candidates, references)} if meteor else {})


def diversity(candidates: Sequence[Sequence[str]], vocabulary: int) -> dict[str, float]:
    """Say how many captions differ, of all, and how many words of a vocabulary they use.

    Gives distinct_captions and words_used, both shares in [0, 1]; `vocabulary` counts the words.
    """
    if not candidates or vocabulary < 1:
        raise ValueError(
            f"diversity needs captions and a vocabulary, got {len(candidates)} and {vocabulary}"
        )
    words = {word for caption in candidates for word in caption}
    return {
        "distinct_captions": len(set(map(tuple, candidates))) / len(candidates),
        "words_used": len(words) / vocabulary,
    }
