from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_captions import flickr8k

from vision_attn.data import caption_baselines as module
from vision_attn.data.caption_baselines import (
    by_bleu,
    constant_caption,
    free_rows,
    histograms,
    neighbours,
    typical,
)
from vision_attn.data.caption_config import Flickr8kConfig
from vision_attn.language.bleu import bleu
from vision_attn.language.cider import CiderD
from vision_attn.language.scores import scores


class Plain:
    """A split of images in one colour each, and their captions."""

    def __init__(self, colours: list[tuple[int, int, int]], captions: list[list[str]]):
        images = torch.tensor(colours, dtype=torch.uint8)
        self.pixels = images[:, None, None].expand(-1, 6, 7, -1).contiguous()
        self.captions = captions

    def __len__(self) -> int:
        return len(self.captions)

    def images(self, indices: list[int]) -> torch.Tensor:
        return self.pixels[indices]

    def references(self) -> list[list[list[str]]]:
        return [[text.split() for text in texts] for texts in self.captions]


TRAIN = Plain(
    [(250, 0, 0), (0, 250, 0), (0, 0, 250)],
    [
        ["a red wall", "the wall is red", "a red wall here"],
        ["a green lawn", "some grass", "a green lawn here"],
        ["a blue sea", "waves", "a blue sea here"],
    ],
)
VALID = Plain(
    [(5, 10, 255), (255, 10, 5)],
    [["a blue sky", "a sky", "a blue sea"], ["a red door", "one red door", "the red wall"]],
)


def test_the_neighbour_by_colour_lends_its_most_typical_caption():
    near = neighbours(histograms(TRAIN, [0, 1, 2]), histograms(VALID, [0, 1]))
    assert near.tolist() == [2, 0]
    known = TRAIN.references()
    cider = CiderD(known)
    retrieved = [typical(known[i], cider) for i in near]
    assert retrieved[1][:3] == ["a", "red", "wall"]
    rows = free_rows(TRAIN, VALID)
    assert rows["retrieval"] == scores(retrieved, VALID.references())


def test_where_a_colour_is_matters():
    left = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    left[:, :, :2] = 200
    split = Plain([(0, 0, 0)] * 3, [["x"]] * 3)
    split.pixels = torch.cat([left, left.flip(2), left.roll(1, 1)])
    first, mirrored, same = histograms(split, [0, 1, 2])
    assert first.sum() == pytest.approx(4)  # 1 for each quarter
    assert np.array_equal(first, same)
    assert not np.array_equal(first, mirrored)


def drawn(seed: int) -> list[list[list[str]]]:
    generator = np.random.default_rng(seed)
    return [
        [[f"w{x}" for x in generator.zipf(1.6, generator.integers(4, 9)) % 7] for _ in range(3)]
        for _ in range(17)
    ]


def test_captions_are_ranked_by_the_bleu_of_saying_them_always():
    references = drawn(5)
    ranked = by_bleu(references)
    worth = [bleu([caption] * len(references), references)[3] for caption in ranked]
    assert worth == pytest.approx(sorted(worth, reverse=True))
    assert set(ranked) == {tuple(caption) for captions in references for caption in captions}


def test_the_constant_caption_has_the_best_cider_of_those_with_a_high_bleu():
    references = drawn(7)
    found = constant_caption(references)
    cider = CiderD(references)
    worth = {
        caption: cider.scores([caption] * len(references), references).mean()
        for caption in by_bleu(references)[:30]
    }
    assert worth[tuple(found)] == pytest.approx(max(worth.values()))


def test_people_are_held_against_each_other():
    rows = free_rows(TRAIN, VALID)
    captions = VALID.references()
    assert rows["human"] == scores([x[0] for x in captions], [x[1:] for x in captions])
    single = Plain([(9, 9, 9)], [["a wall"]])
    assert set(free_rows(TRAIN, single)) == {"constant", "retrieval"}


def test_few_of_many_training_images_are_searched(monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    rows = free_rows(TRAIN, VALID)
    few = Plain([(250, 0, 0), (0, 0, 250)], [TRAIN.captions[0], TRAIN.captions[2]])
    assert rows == free_rows(few, VALID)


def test_rows_of_a_set_of_files(tmp_path: Path):
    data = Flickr8kConfig(root=str(flickr8k(tmp_path)), image_size=17).build()
    rows = free_rows(data.train, data.valid)
    assert list(rows) == ["constant", "retrieval", "human"]
    # the neighbour has the same brightness, which two of eight words name
    assert rows["retrieval"]["bleu1"] > rows["constant"]["bleu1"]
