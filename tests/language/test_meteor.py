import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pycocoevalcap.meteor.meteor as oracle
import pytest

from vision_attn.language import meteor_program as module
from vision_attn.language.meteor import STEM, align, meteor_exact_stem, stem
from vision_attn.language.meteor_program import Meteor, meteor_program

WORDS = ("a", "man", "the", "hats", "hat", "walking", "dogs", "walked", "dog")


def test_a_score_by_hand():
    # content words weigh 0.75, function words (the, on) 0.25; four matches in two pieces
    reference = ["the", "cat", "sat", "on", "the", "mat"]
    candidate = [*reference[3:], "sat", "the", "cat"]
    assert align(candidate, reference) == (4, 5, 3, 0, 1, 2)
    penalty = 0.6 * (3 / 6) ** 0.2
    assert meteor_exact_stem([candidate], [[reference]]) == pytest.approx(1 - penalty)
    assert meteor_exact_stem([reference], [[reference]]) == 1
    assert meteor_exact_stem([["bird"]], [[reference]]) == 0
    assert meteor_exact_stem([[]], [[reference]]) == 0


def test_a_stem_is_worth_less_than_the_word():
    precision, recall = 0.6, 0.6 * 0.75 / (0.75 + 0.25)
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    found = meteor_exact_stem([["dog"]], [[["the", "dogs"]]])
    assert found == pytest.approx(mean * (1 - 0.6))
    assert stem("walking") == stem("walked") == "walk"


def test_a_set_is_scored_as_one_text():
    candidates, references = [["cat"], ["dog"]], [[["cat"]], [["bird"]]]
    mean = 0.5  # one of two words, both ways
    assert meteor_exact_stem(candidates, references) == pytest.approx(mean)
    assert meteor_exact_stem(candidates, [[["bird"], ["cat"]], [["bird"]]]) == pytest.approx(mean)


def worth(candidate: list[str], reference: list[str], places: tuple[int, ...]) -> tuple:
    """Say what an alignment loses, in how many pieces it lies, and how far words move."""
    pairs = [(i, k) for i, k in enumerate(places) if k >= 0]
    lost = sum(1 if k < 0 else 0.4 * (candidate[k] != reference[i]) for i, k in enumerate(places))
    pieces = len(pairs) - sum((i + 1, k + 1) in pairs for i, k in pairs)
    return round(lost, 9), pieces, sum(abs(i - k) for i, k in pairs)


@pytest.mark.parametrize("seed", range(20))
def test_alignments_are_the_best_of_all(seed: int):
    generator = np.random.default_rng(seed)
    candidate, reference = (list(generator.choice(WORDS, n)) for n in (6, 5))
    choices = [
        [-1, *(k for k, word in enumerate(candidate) if stem(word) == stem(other))]
        for other in reference
    ]
    possible = [
        places
        for places in product(*choices)
        if len({k for k in places if k >= 0}) == sum(k >= 0 for k in places)
    ]
    best = min(worth(candidate, reference, places) for places in possible)
    assert worth(candidate, reference, align(candidate, reference)) == best
    assert STEM == 1 - 0.4


def real() -> tuple[list[list[str]], list[list[list[str]]]]:
    """Take captions of 300 images: the first of the same or the next image against four."""
    root = os.environ.get("VISION_ATTN_DATA") or Path(__file__).parents[2].parent / "shared/data"
    file = Path(root) / "flickr8k" / "Flickr8k.token.txt"
    if not file.exists():
        pytest.skip(f"{file} is not here; set VISION_ATTN_DATA to the folder that has it")
    lines = file.read_text().lower().replace(" .", "").splitlines()[:1500]
    words = [line.split("\t")[1].split() for line in lines]
    images = [words[i : i + 5] for i in range(0, 1500, 5)]
    return [images[i + i % 2 * (i < 299)][0] for i in range(300)], [x[1:] for x in images]


needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")


@needs_java
def test_the_java_program_agrees():
    candidates, references = real()
    jar = Path(oracle.__file__).parent / oracle.METEOR_JAR
    java = Meteor(jar, "-m", "exact stem", "-w", f"1.0 {STEM}")
    each, total = java.scores(candidates, references)
    java.close()
    ours = [meteor_exact_stem([c], [r]) for c, r in zip(candidates, references, strict=True)]
    same = sum(abs(a - b) < 1e-6 for a, b in zip(ours, each, strict=True))
    assert same >= 0.9 * len(each)  # it drops some stem matches of words with several partners
    assert meteor_exact_stem(candidates, references) == pytest.approx(total, abs=1e-3)


@needs_java
def test_the_program_also_counts_synonyms():
    candidates = [["a", "large", "dog"], ["a", "cat"], []]
    references = [[["a", "bird"], ["a", "big", "dog"]], [["a", "cat"]], [["a", "cow"]]]
    # Without paraphrases, which take long to read.
    with meteor_program("-m", "exact stem synonym", "-w", f"1.0 {STEM} 0.8") as meteor:
        assert meteor is not None
        (synonym, same, nothing), total = meteor.scores(candidates, references)
        assert meteor(candidates, references) == total
        with pytest.raises(ValueError, match="got 1 candidates for 3 images"):
            meteor(candidates[:1], references)
    assert meteor_exact_stem(candidates[:1], references[:1]) + 0.2 < synonym < 1
    assert (same, nothing) == (1, 0)
    assert 0 < total < 1
    assert meteor.java.returncode == 0


def test_without_java_there_is_no_program(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with meteor_program() as meteor:
        assert meteor is None


def test_a_program_that_does_not_answer_is_told(tmp_path, monkeypatch):
    (tmp_path / "java").write_text("#!/bin/sh\nread line\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    java = Meteor(tmp_path / "none.jar")
    with pytest.raises(ValueError, match="must answer, got nothing from java -Xmx2G -jar"):
        java([["a"]], [[["a"]]])
    java.close()
