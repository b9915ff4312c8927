"""Balanced batches: as many images of every class, and no image of a class left out."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
import torch

from vision_attn.data.loader import Loader
from vision_attn.data.order import BalancedOrder, labels_of

COUNTS = {0: 31, 2: 7, 3: 1}
LABELS = torch.tensor([label for label, count in COUNTS.items() for _ in range(count)])
LABELS = LABELS[torch.randperm(39, generator=torch.Generator().manual_seed(0))]


def order(batch_size: int = 7, **settings: int) -> BalancedOrder:
    return BalancedOrder(39, batch_size, labels=LABELS, **({"seed": 5} | settings))


def stream(count: int, **settings: int) -> list[tuple[int, int]]:
    return list(itertools.chain(*itertools.islice(order(**settings), count)))


def test_every_round_shows_every_class_once():
    classes = [int(LABELS[index]) for _, index in stream(33)]
    rounds = [classes[start : start + 3] for start in range(0, 231, 3)]
    assert all(sorted(found) == sorted(COUNTS) for found in rounds)
    assert len({tuple(found) for found in rounds}) == 6  # in every order that there is


@pytest.mark.parametrize("label", COUNTS)
def test_a_class_shows_all_its_images_before_one_again(label):
    keys = [key for key in stream(33) if LABELS[key[1]] == label]
    own = {index for index, found in enumerate(LABELS.tolist()) if found == label}
    epochs = [keys[start : start + len(own)] for start in range(0, len(keys), len(own))]
    for number, found in enumerate(epochs[:-1]):
        assert {epoch for epoch, _ in found} == {number}
        assert {index for _, index in found} == own


def test_no_key_comes_twice_so_repeated_images_are_augmented_differently():
    assert max(Counter(stream(50)).values()) == 1


def test_the_order_depends_on_the_seed():
    assert stream(9) == stream(9) != stream(9, seed=6)


@pytest.mark.parametrize("start", [1, 3, 10])  # inside a round, at the end of one, far away
def test_resume_continues_the_uninterrupted_order(start):
    assert stream(17 - start, start_step=start) == stream(17)[start * 7 :]


def test_ranks_partition_every_batch():
    whole = list(itertools.islice(order(6), 9))
    ranks = [list(itertools.islice(replace(order(6), rank=rank, world=3), 9)) for rank in range(3)]
    for step, batch in enumerate(whole):
        assert [ranks[place % 3][step][place // 3] for place in range(6)] == batch


class Listed:
    """A split that lists its labels."""

    labels = LABELS

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, keys):
        return (self.labels[[index for _, index in keys]],)


def test_a_loader_balances_and_resumes():
    loader = Loader(Listed(), 6, seed=5, balanced=True)
    batches = list(itertools.islice(loader.batches(), 5))
    assert all(Counter(labels.tolist()) == {0: 2, 2: 2, 3: 2} for (labels,) in batches)
    (rest,) = next(loader.batches(4))
    assert torch.equal(rest, batches[4][0])


@pytest.mark.parametrize("labels", [None, torch.eye(3)])
def test_a_split_without_one_label_an_image_is_refused(labels):
    split = Listed()
    split.labels = labels
    with pytest.raises(
        ValueError, match=r"balanced sampling needs .* one label an image, got Listed"
    ):
        labels_of(split, "balanced sampling")
