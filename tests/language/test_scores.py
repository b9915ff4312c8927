"""Scores against pycocoevalcap and against numbers worked out by hand."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from vision_attn.language.bleu import bleu
from vision_attn.language.cider import CiderD
from vision_attn.language.rouge import longest_common, rouge_l
from vision_attn.language.scores import diversity, scores


class Captions(NamedTuple):
    candidates: list[list[str]]
    references: list[list[list[str]]]

    def texts(self) -> tuple[dict, dict]:
        """Give references and candidates as the oracle wants them."""
        references = {
            i: [" ".join(words) for words in captions] for i, captions in enumerate(self.references)
        }
        return references, {i: [" ".join(words)] for i, words in enumerate(self.candidates)}


def drawn(seed: int) -> Captions:
    """Captions of 1 to 12 of 11 words, one to five references, candidates near and far."""
    generator = np.random.default_rng(seed)

    def caption() -> list[str]:
        return [f"w{i}" for i in generator.zipf(1.5, generator.integers(1, 13)) % 11]

    references = [[caption() for _ in range(generator.integers(1, 6))] for _ in range(37)]
    candidates = [x[0][: generator.integers(1, 13)] + caption()[:3] for x in references]
    candidates[5] = references[5][0]
    candidates[7] = ["nothing"]
    candidates[11] = []
    return Captions(candidates, references)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_oracle(seed: int):
    captions = drawn(seed)
    references, candidates = captions.texts()
    found = scores(*captions)
    numbers, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    assert [found[f"bleu{n}"] for n in (1, 2, 3, 4)] == pytest.approx(numbers, abs=1e-6)
    average, each = Cider().compute_score(references, candidates)
    assert found["cider_d"] == pytest.approx(average, abs=1e-6)
    ours = CiderD(captions.references).scores(*captions)
    np.testing.assert_allclose(ours, each, atol=1e-6)
    average, _ = Rouge().compute_score(references, candidates)
    assert found["rouge_l"] == pytest.approx(average, abs=1e-6)


def test_bleu_by_hand():
    candidate, reference = ["the", "the", "the", "cat"], ["the", "cat", "sat", "on", "the", "mat"]
    one, two, three, _ = bleu([candidate], [[reference]])
    penalty = math.exp(1 - 6 / 4)
    assert one == pytest.approx(penalty * 3 / 4)  # the third `the` is clipped
    assert two == pytest.approx(penalty * math.sqrt(3 / 4 * 1 / 3))
    assert three < 1e-4
    assert bleu([reference], [[candidate, reference]]) == pytest.approx([1] * 4)


def test_rouge_by_hand():
    candidate, reference = ["police", "met", "the", "man"], ["the", "man", "police", "met"]
    assert longest_common(candidate, reference) == 2
    assert longest_common("abcbdab", "bdcaba") == 4
    assert rouge_l([candidate], [[reference]]) == pytest.approx(0.5)
    precision, recall = 1.0, 0.5
    wanted = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert rouge_l([["the", "man"]], [[reference]]) == pytest.approx(wanted)


def test_a_perfect_caption_has_a_cider_of_ten_and_a_single_image_none():
    references = [[["a", "red", "dog", "runs"]], [["two", "blue", "cats", "sleep"]]]
    assert CiderD(references).scores([x[0] for x in references], references) == pytest.approx(10)
    assert scores(references[0], references[:1])["cider_d"] == 0


def test_cider_as_a_reward_keeps_the_frequencies_of_its_corpus():
    corpus = drawn(1)
    reward = CiderD(corpus.references)
    wanted = Cider().compute_score(*corpus.texts())[1]
    for first, last in ((0, 5), (3, 4), (20, 37)):
        found = reward.scores(corpus.candidates[first:last], corpus.references[first:last])
        np.testing.assert_allclose(found, wanted[first:last], atol=1e-6)


def test_numbers_score_as_words_do():
    captions = drawn(3)
    numbered = Captions(
        [[int(w[1:]) if w != "nothing" else -1 for w in x] for x in captions.candidates],
        [[[int(w[1:]) for w in x] for x in y] for y in captions.references],
    )
    ours = CiderD(numbered.references).scores(*numbered)
    np.testing.assert_allclose(ours, CiderD(captions.references).scores(*captions))


def test_the_program_of_meteor_is_asked_where_it_is_given():
    captions = drawn(2)
    found = scores(*captions, meteor=lambda *given: 0.25 if given == tuple(captions) else 0.0)
    assert found == scores(*captions) | {"meteor": 0.25}


def test_diversity_counts_captions_and_words():
    captions = [["a", "dog"], ["a", "cat"], ["a", "dog"], []]
    assert diversity(captions, 12) == {"distinct_captions": 0.75, "words_used": 0.25}


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="one candidate an image, got 1 candidates for 2 images"):
        scores([["a"]], [[["a"]], [["b"]]])
    with pytest.raises(ValueError, match="a reference for each image, got none for 1"):
        scores([["a"], ["b"]], [[["a"]], []])
    with pytest.raises(ValueError, match="one candidate an image, got 0 candidates"):
        scores([], [])
    with pytest.raises(ValueError, match="needs captions and a vocabulary, got 0 and 5"):
        diversity([], 5)
    with pytest.raises(ValueError, match="captions of an image, got none"):
        CiderD([])
