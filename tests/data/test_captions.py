from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny_captions import COUNT, captions, flickr8k, names, picture

from vision_attn.data.batch import Captioned, to
from vision_attn.data.caption_config import (
    CaptionCsvConfig,
    CocoCaptionsConfig,
    Flickr8kConfig,
    KarpathyConfig,
)
from vision_attn.data.captions import Sentences
from vision_attn.data.config import AugmentConfig
from vision_attn.data.division import CHECKED, hold_out, keep_division
from vision_attn.data.loader import Loader, share
from vision_attn.language.tokens import tokens
from vision_attn.language.vocabulary import END, UNKNOWN, Vocabulary


def config(root: Path, **settings) -> Flickr8kConfig:
    return Flickr8kConfig(**{"root": str(root), "image_size": 17, "minimum": 2} | settings)


def same(one: Captioned, other: Captioned) -> bool:
    tensors = zip(one[:3], other[:3], strict=True)
    return all(torch.equal(a, b) for a, b in tensors) and one[3:] == other[3:]


def test_batches_hold_each_image_once_with_its_captions(tmp_path: Path):
    data = config(flickr8k(tmp_path)).build()
    assert (len(data.train), len(data.valid), data.test) == (9, 4, None)
    batch = data.train.__getitems__([(0, 4), (2, 7)])
    vocabulary = Vocabulary(data.spec.names)
    assert batch.image.shape == (2, 3, 17, 17)
    assert batch.words.dtype == batch.lengths.dtype == torch.int64
    assert (batch.texts, batch.scenes) == ([], [])
    for words, lengths, index in zip(batch.words, batch.lengths, (4, 7), strict=True):
        for row, length, text in zip(
            words.tolist(), lengths.tolist(), captions(index), strict=True
        ):
            assert row[length - 1] == END
            assert not any(row[length:])
            expected = [w if w in vocabulary.numbers else None for w in tokens(text)]
            assert [vocabulary.names[x] for x in row[: length - 1] if x != UNKNOWN] == [
                w for w in expected if w
            ]
            assert row.count(UNKNOWN) == expected.count(None)
    batch = data.valid.__getitems__([(0, 3)])
    assert batch.texts == [tuple(captions(12))]
    assert data.valid.references()[3] == [tokens(text) for text in captions(12)]


def test_the_vocabulary_is_that_of_the_training_captions(tmp_path: Path):
    root = flickr8k(tmp_path)
    names = set(config(root, minimum=1).build().spec.names)
    assert {"dog", "black", "8"} <= names
    assert not {"9", "12"} & names  # numbers of validation images
    # five captions name the number of an image, three images in nine a colour, nine a verb
    assert "8" in config(root, minimum=5).build().spec.names
    assert set(config(root, minimum=6).build().spec.names[4:]) == {
        *("a", "dog", "number", "black", "grey", "white"),
        *("runs", "sits", "sleeps", "jumps", "eats"),
    }


def test_images_belong_to_their_captions(tmp_path: Path):
    data = config(flickr8k(tmp_path)).build()
    vocabulary = Vocabulary(data.spec.names)
    levels = {"black": 40, "grey": 128, "white": 215}
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (data.spec.mean, data.spec.std))
    for split in (data.train, data.valid):
        for batch in share(split, 3):
            for image, words in zip(batch.image, batch.words, strict=True):
                (colour,) = set(levels) & set(vocabulary.decode(words[0].tolist()))
                assert ((image * std + mean) * 255).mean().item() == pytest.approx(
                    levels[colour], abs=4
                )


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_and_workers_change_no_batch(tmp_path: Path, workers: int):
    flickr8k(tmp_path)
    augment = AugmentConfig(shift=3, erase=0.3)
    kept = config(tmp_path, augment=augment, memory="always").build()
    read = config(tmp_path, augment=augment, memory="never").build()
    batches = Loader(kept.train, 4, seed=1).batches()
    others = Loader(read.train, 4, seed=1, workers=workers).batches()
    assert all(same(*pair) for pair in islice(zip(batches, others, strict=True), 6))
    pairs = zip(share(kept.valid, 3), share(read.valid, 3, workers=workers), strict=True)
    assert all(same(*pair) for pair in pairs)


def test_ranks_and_resumption_give_the_same_batches(tmp_path: Path):
    train = config(flickr8k(tmp_path), augment=AugmentConfig(shift=2)).build().train
    whole = list(islice(Loader(train, 4, seed=3).batches(), 6))
    rest = Loader(train, 4, seed=3).batches(4)
    assert all(same(*pair) for pair in zip(whole[4:], islice(rest, 2), strict=True))
    ranks = [Loader(train, 4, seed=3, rank=rank, world=2).batches() for rank in range(2)]
    for batch, *parts in islice(zip(whole, *ranks, strict=False), 6):
        for rank, part in enumerate(parts):
            assert torch.equal(part.image, batch.image[rank::2])
            width = part.words.shape[2]
            assert torch.equal(part.words, batch.words[rank::2, :, :width])
            assert torch.equal(part.lengths, batch.lengths[rank::2])


def test_the_same_set_in_every_format_is_the_same(tmp_path: Path):
    import csv
    import json

    root = flickr8k(tmp_path)
    data = config(root).build()
    splits = ["train"] * 9 + ["val"] * 4
    with (root / "set.csv").open("w", newline="") as file:
        rows = [("image", "caption", "split")]
        rows += [(n, t, splits[i]) for i, n in enumerate(names()) for t in captions(i)]
        csv.writer(file).writerows(rows)
    images = [
        {"filename": n, "split": splits[i], "sentences": [{"raw": t} for t in captions(i)]}
        for i, n in enumerate(names())
    ]
    (root / "set.json").write_text(json.dumps({"images": images}))
    for part in (range(9), range(9, COUNT)):
        entries = {
            "images": [{"id": i, "file_name": f"{i}.png"} for i in part],
            "annotations": [{"image_id": i, "caption": t} for i in part for t in captions(i)],
        }
        (root / f"captions_{len(part)}.json").write_text(json.dumps(entries))
    shared = {"image_size": 17, "minimum": 2}
    folder = str(root / "Images")
    first, second = str(root / "captions_9.json"), str(root / "captions_4.json")
    others = [
        CaptionCsvConfig(file=str(root / "set.csv"), root=folder, **shared),
        KarpathyConfig(file=str(root / "set.json"), root=str(root), **shared),
        CocoCaptionsConfig(file=first, valid_file=second, root=folder, **shared),
    ]
    for other in others:
        again = other.build()
        assert again.spec == data.spec
        assert same(*(next(iter(share(x.valid, 9))) for x in (data, again)))
        assert same(*(next(iter(share(x.train, 9))) for x in (data, again)))


def test_a_share_is_held_out_where_no_split_is_given(tmp_path: Path):
    root = flickr8k(tmp_path)
    (root / "Flickr_8k.devImages.txt").unlink()
    first = config(root, valid_share=0.25).build()
    assert (len(first.train), len(first.valid)) == (7, 2)
    again = config(root, valid_share=0.25, split_seed=5).build()
    assert again.valid.texts != first.valid.texts
    flickr8k(tmp_path)
    with pytest.raises(ValueError, match="valid_share is for sets without a valid split"):
        config(root, valid_share=0.25).build()


def test_long_captions_teach_nothing_but_are_references(tmp_path: Path):
    root = flickr8k(tmp_path)
    long = " ".join(["very"] * 7)
    with (root / "Flickr8k.token.txt").open("a") as file:
        file.write(f"2.png#5\tA {long} black dog\n10.png#5\tA {long} white cat\n")
    data = config(root, longest=9).build()
    assert [problem.reason for problem in data.problems] == [
        "10 words, more than longest=9: a reference only"
    ] * 2
    assert "very" not in data.spec.names
    assert next(iter(share(data.train, 9))).lengths.shape == (9, 5)
    batch = data.valid.__getitems__([(0, 1)])
    assert len(batch.texts[0]) == 6
    assert batch.lengths.shape == (1, 5)
    assert len(config(root, longest=10).build().problems) == 0


def test_images_without_a_short_caption_do_not_train(tmp_path: Path):
    root = flickr8k(tmp_path)
    picture(root / "Images" / "new.png", 0)
    with (root / "Flickr8k.token.txt").open("a") as file:
        file.write(f"new.png#0\tA {' '.join(['very'] * 9)} black dog\n")
    with (root / "Flickr_8k.trainImages.txt").open("a") as file:
        file.write("new.png\n")
    data = config(root, longest=9).build()
    assert len(data.train) == 9
    assert [Path(problem.path).name for problem in data.problems] == ["new.png"]


def test_bad_images_and_entries_are_left_out_and_listed(tmp_path: Path):
    root = flickr8k(tmp_path)
    (root / "Images" / "3.png").write_bytes(b"")
    (root / "Images" / "11.png").unlink()
    with (root / "Flickr8k.token.txt").open("a") as file:
        file.write("nonsense\nspare.png#0\tA cow\n")
    data = config(root, bad_share=0.2).build()
    assert [(Path(p.path).name, p.reason) for p in data.problems] == [
        ("spare.png", "in no split; its 1 captions are not used"),
        ("Flickr8k.token.txt:66", "must be IMAGE#NUMBER, a tab and a caption, got 'nonsense'"),
        ("3.png", "empty file"),
        ("11.png", "cannot be read: No such file or directory"),
    ]
    assert (len(data.train), len(data.valid)) == (8, 3)
    assert data.valid.texts == [tuple(captions(index)) for index in (9, 10, 12)]
    with pytest.raises(ValueError, match=r"of the files may be unusable, got 2 of 13; "):
        config(root, bad_share=0.1).build()
    with pytest.raises(
        ValueError, match=r"of the entries may be unusable, got 1 of 80; (.|\n)*:66"
    ):
        config(root, bad_share=0.01).build()


def test_sentences_are_padded_to_the_longest_of_the_batch():
    sentences = Sentences([[[5, 6, 2]], [[7, 2], [8, 9, 5, 2]], [], [[2]]])
    words, lengths = sentences.batch([1, 0])
    assert words.tolist() == [[[7, 2, 0, 0], [8, 9, 5, 2]], [[5, 6, 2, 0], [0] * 4]]
    assert lengths.tolist() == [[2, 4], [3, 0]]
    words, lengths = sentences.batch([3, 2])
    assert (words.tolist(), lengths.tolist()) == ([[[2]], [[0]]], [[1], [0]])
    words, lengths = sentences.batch([2])
    assert (words.tolist(), lengths.tolist()) == ([[[0]]], [[0]])


def test_batches_move_to_a_device_but_for_texts(tmp_path: Path):
    batch = config(flickr8k(tmp_path)).build().valid.__getitems__([(0, 0), (0, 1)])
    moved = to(batch, torch.device("meta"))
    assert isinstance(moved, Captioned)
    assert {x.device.type for x in moved[:3]} == {"meta"}
    assert moved.texts is batch.texts


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minimum": 0}, "minimum must be 1 or more, got 0"),
        ({"longest": 0, "bad_share": 2.0}, r"bad_share must be in .*\nlongest must be 1 or more"),
        ({"valid_share": 1.0}, r"valid_share must be in \(0, 1\), got 1.0"),
    ],
)
def test_impossible_settings_of_captions_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        config(Path("."), **settings)


def test_some_of_the_images_keep_their_captions():
    images = [[[5, 6, 2]], [[7, 2], [8, 9, 5, 2]], [], [[2]]]
    part, expected = Sentences(images).only([3, 1]), Sentences([images[3], images[1]])
    for found, wanted in zip(part.batch([0, 1]), expected.batch([0, 1]), strict=True):
        assert torch.equal(found, wanted)


def test_a_part_of_a_split_is_what_the_split_has_at_these_places(tmp_path):
    whole = config(flickr8k(tmp_path)).build().valid
    part = whole.only([1])
    found, wanted = part.__getitems__([(0, 0)]), whole.__getitems__([(0, 1)])
    assert (len(part), part.texts, found.texts) == (1, [whole.texts[1]], wanted.texts)
    for one, other in zip(found[:3], wanted[:3], strict=True):
        assert torch.equal(one, other)
    assert part.digests() == whole.digests()[1:2]
    assert part.references() == whole.references()[1:2]


def test_captioned_images_that_trained_do_not_judge(tmp_path):
    data = config(flickr8k(tmp_path)).build()
    keep_division(tmp_path, data, fresh=True)
    assert hold_out(tmp_path, data.valid, "valid") == (data.valid, CHECKED)
    with pytest.raises(ValueError, match=r"9 of these 9 images trained the network, such as "):
        hold_out(tmp_path, data.train, "valid")
