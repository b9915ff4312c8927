import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from vision_attn.data import scene_captions as module
from vision_attn.data.caption_config import SceneCaptionsConfig
from vision_attn.data.config import ScenesConfig
from vision_attn.data.describe import VOCABULARY, scene, sentences
from vision_attn.data.grammar import valid_words, words
from vision_attn.data.loader import Loader, share

CONFIG = SceneCaptionsConfig(image_size=29, train=23, valid=7, test=5, seed=3)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_ATTN_CACHE", str(tmp_path))


def decoded(rows: torch.Tensor) -> list[list[str]]:
    return [VOCABULARY.decode(row) for row in rows.tolist()]


def test_training_batches_hold_images_and_true_sentences():
    data = CONFIG.build()
    keys = [(0, 19), (4, 2)]
    batch = data.train.__getitems__(keys)
    pictures = ScenesConfig(image_size=29, train=23, seed=3).build().train.__getitems__(keys)
    assert torch.equal(batch.image, pictures.images)
    assert (batch.texts, batch.scenes) == ([], [])
    for rows, lengths, index in zip(batch.words, batch.lengths, (19, 2), strict=True):
        wanted = [words(text) for text in scene(3, "train", index, 29).captions]
        assert decoded(rows) == wanted
        assert lengths.tolist() == [len(x) + 1 for x in wanted]
    assert batch.words.shape[2] == batch.lengths.max()
    assert data.spec.names == VOCABULARY.names


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluated_batches_know_their_scenes(split: str):
    source = getattr(CONFIG.build(), split)
    batch = source.__getitems__([(0, 4), (0, 1)])
    for place, index in enumerate((4, 1)):
        known = scene(3, split, index, 29)
        assert batch.texts[place] == known.captions
        assert batch.scenes[place].captions == known.captions
        assert (batch.scenes[place].image == known.image).all()
        assert all(valid_words(x, known) for x in decoded(batch.words[place]))
        assert decoded(batch.words[place]) == [words(text) for text in known.captions]


def test_fresh_sentences_belong_to_fresh_scenes():
    fresh = replace(CONFIG, fresh=True).build().train
    rows = fresh.__getitems__([(0, 5), (1, 5)]).words
    for caption, number in zip(rows, (5, 28), strict=True):
        known = scene(3, "train", number, 29)
        assert decoded(caption) == [words(text) for text in known.captions]


@pytest.mark.parametrize("fresh", [False, True])
def test_workers_ranks_and_resumption_change_nothing(fresh: bool):
    train = replace(CONFIG, fresh=fresh).build().train
    whole = list(islice(Loader(train, 4, seed=1).batches(), 8))
    helped = islice(Loader(train, 4, seed=1, workers=2).batches(3), 5)
    for batch, other in zip(whole[3:], helped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch[:3], other[:3], strict=True))
    second = Loader(train, 4, seed=1, rank=1, world=2).batches()
    for batch, part in zip(whole, second, strict=False):
        assert torch.equal(part.image, batch.image[1::2])
        assert torch.equal(part.lengths, batch.lengths[1::2])


def test_workers_pass_scenes_on():
    valid = CONFIG.build().valid
    for batch, other in zip(share(valid, 3), share(valid, 3, workers=2), strict=True):
        assert batch.texts == other.texts
        masks = [[x.mask.sum() for x in scene.objects] for scene in batch.scenes]
        assert masks == [[x.mask.sum() for x in scene.objects] for scene in other.scenes]


def test_references_are_the_words_of_all_captions():
    valid = CONFIG.build().valid
    wanted = [[words(text) for text in scene(3, "valid", index, 29).captions] for index in range(7)]
    assert valid.references() == wanted


def test_sentences_are_kept_in_a_file_and_scenes_in_memory(monkeypatch):
    valid = CONFIG.build().valid
    first = valid.__getitems__([(0, 2)])
    monkeypatch.setattr("vision_attn.data.pictures.sentences", None)
    again = CONFIG.build().valid.__getitems__([(0, 2)])
    assert torch.equal(first.words, again.words)
    assert valid.__getitems__([(0, 2)]).scenes[0] is first.scenes[0]
    assert len(pickle.dumps(valid)) < 2500
    monkeypatch.setattr(module, "MEMORY", 0)
    tight = CONFIG.build().valid
    assert tight.known(2) is not tight.known(2)


def test_sentences_need_no_painting(monkeypatch):
    wanted = sentences(3, "valid", 6, 29)
    monkeypatch.setattr("vision_attn.data.describe.paint", None)
    assert (sentences(3, "valid", 6, 29) == wanted).all()
    assert wanted.dtype == np.uint8


@pytest.mark.parametrize(
    ("field", "value"),
    [("image_size", 23), ("train", 0), ("test", -1), ("seed", -1), ("workers", -2)],
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .* or more.*{value}"):
        replace(CONFIG, **{field: value})
