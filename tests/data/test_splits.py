import numpy as np
import pytest

from vision_attn.data.splits import divide, portion, stratified

LABELS = np.repeat(np.arange(5), [2, 13, 101, 37, 1])[np.random.default_rng(0).permutation(154)]
ALL = np.arange(154)


def test_each_class_gives_its_share_and_nothing_is_lost():
    kept, held = stratified(LABELS, ALL, 0.2, seed=3)
    assert sorted([*kept, *held]) == ALL.tolist()
    counts = [int((LABELS[held] == label).sum()) for label in range(5)]
    assert counts == [1, 3, 20, 7, 0]
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(held) > 0)


def test_the_seed_and_the_draw_decide():
    held = [stratified(LABELS, ALL, 0.3, seed, draw)[1].tolist() for seed, draw in SEEDS]
    assert held[0] == held[1]
    assert held[0] != held[2]
    assert held[0] != held[3]


SEEDS = [(3, 0), (3, 0), (4, 0), (3, 1)]


def test_losing_an_image_hardly_moves_the_others():
    _, held = stratified(LABELS, ALL, 0.3, seed=3)
    _, fewer = stratified(LABELS, np.delete(ALL, 17), 0.3, seed=3)
    assert len(set(held) - {17} ^ set(fewer)) <= 1


def test_missing_splits_are_taken_from_train():
    parts = divide(LABELS, ["train"] * 154, ALL, seed=1, valid_share=0.25, test_share=0.2)
    assert sorted(np.concatenate(list(parts.values()))) == ALL.tolist()
    assert [int((LABELS[parts[s]] == 2).sum()) for s in ("test", "valid", "train")] == [20, 20, 61]


def test_given_splits_are_kept_and_bad_images_left_out():
    given = ["test" if i % 7 == 0 else "valid" if i % 7 == 1 else "train" for i in range(154)]
    usable = np.delete(ALL, [0, 1, 2])
    parts = divide(LABELS, given, usable, seed=1)
    for name, part in parts.items():
        assert part.tolist() == [i for i in usable if given[i] == name]


def test_a_tenth_validates_by_default():
    parts = divide(np.zeros(70, int), ["train"] * 60 + ["test"] * 10, np.arange(70), seed=1)
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [54, 6, 10]


@pytest.mark.parametrize(("name", "share"), [("valid", "valid_share"), ("test", "test_share")])
def test_a_share_of_a_given_split_is_refused(name: str, share: str):
    given = [name if i % 2 else "train" for i in range(154)]
    with pytest.raises(ValueError, match=f"{share} is for sets without a {name} split"):
        divide(LABELS, given, ALL, seed=0, **{share: 0.5})


def test_a_set_too_small_to_split_is_refused():
    with pytest.raises(ValueError, match="training and validation need images"):
        divide(np.arange(3), ["train"] * 3, np.arange(3), seed=0)


def test_a_portion_has_its_share_of_each_class_and_lies_inside_larger_ones():
    inside: set[int] = set()
    for share, counts in (
        (0.01, [1, 1, 1, 1, 1]),
        (0.1, [1, 1, 10, 4, 1]),
        (0.3, [1, 4, 30, 11, 1]),
        (1.0, [2, 13, 101, 37, 1]),
    ):
        chosen = portion(LABELS, ALL, share, seed=5)
        assert np.bincount(LABELS[chosen]).tolist() == counts
        assert inside <= set(chosen.tolist())
        inside = set(chosen.tolist())


def test_the_seed_of_a_portion_decides_and_touches_nothing_else():
    parts = [
        divide(LABELS, ["train"] * 154, ALL, seed=1, test_share=0.2, train_share=0.3, share_seed=k)
        for k in (5, 5, 6)
    ]
    assert np.array_equal(parts[0]["train"], parts[1]["train"])
    assert not np.array_equal(parts[0]["train"], parts[2]["train"])
    whole = divide(LABELS, ["train"] * 154, ALL, seed=1, test_share=0.2)
    for name in ("valid", "test"):
        assert all(np.array_equal(part[name], whole[name]) for part in parts)
    assert set(parts[2]["train"]) < set(whole["train"])
