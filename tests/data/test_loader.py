import itertools
import os
import signal
import time

import pytest
import torch

from vision_attn.data.batch import Key, Labelled
from vision_attn.data.loader import Loader, share
from vision_attn.data.order import Order

LENGTH, BATCH = 23, 6


class Numbers:
    """A split whose label is the index and whose only pixel is the epoch."""

    def __init__(self, length: int = LENGTH, broken: int | None = None):
        self.length, self.broken = length, broken

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, keys: list[Key]) -> Labelled:
        if self.broken in [index for _, index in keys]:
            raise ValueError(f"cannot read sample {self.broken}")
        epochs, indices = torch.tensor(keys).T
        return Labelled(epochs.float().reshape(-1, 1, 1, 1), indices)


def keys_of(batches, count: int) -> list[list[Key]]:
    taken = itertools.islice(batches, count)
    return [
        list(zip(b.images.flatten().int().tolist(), b.labels.tolist(), strict=True)) for b in taken
    ]


def test_every_epoch_is_a_whole_permutation_and_no_two_are_equal():
    batches = itertools.islice(Order(LENGTH, BATCH, seed=5), LENGTH)  # six epochs exactly
    stream = list(itertools.chain(*batches))
    epochs = [stream[i * LENGTH : (i + 1) * LENGTH] for i in range(BATCH)]
    for epoch, keys in enumerate(epochs):
        assert {e for e, _ in keys} == {epoch}
        assert sorted(i for _, i in keys) == list(range(LENGTH))
    assert len({tuple(i for _, i in keys) for keys in epochs}) == BATCH


def test_order_depends_on_the_seed():
    first, again, other = (next(iter(Order(LENGTH, LENGTH, seed=s))) for s in (5, 5, 7))
    assert first == again != other


def test_a_batch_may_be_larger_than_several_epochs():
    batch = next(iter(Order(3, 11, seed=0)))
    assert [epoch for epoch, _ in batch] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 2
    assert [sorted(i for _, i in batch[k : k + 3]) for k in (0, 3, 6)] == [[0, 1, 2]] * 3


@pytest.mark.parametrize("start", [1, 3, 4, 11])  # 23 / 6: steps 3 and 11 begin inside an epoch
def test_resume_continues_the_uninterrupted_order(start: int):
    whole = list(itertools.islice(Order(LENGTH, BATCH, seed=5), 17))
    rest = itertools.islice(Order(LENGTH, BATCH, seed=5, start_step=start), 17 - start)
    assert list(rest) == whole[start:]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_partition_every_global_batch(world: int):
    whole = keys_of(Loader(Numbers(), BATCH, seed=5).batches(), 9)
    ranks = [
        keys_of(Loader(Numbers(), BATCH, seed=5, rank=r, world=world).batches(), 9)
        for r in range(world)
    ]
    for step, batch in enumerate(whole):
        assert [ranks[i % world][step][i // world] for i in range(BATCH)] == batch


def test_workers_do_not_change_the_batches_and_resume_with_them():
    alone = keys_of(Loader(Numbers(), BATCH, seed=5).batches(), 12)
    helped = Loader(Numbers(), BATCH, seed=5, workers=2)
    assert keys_of(helped.batches(), 12) == alone
    assert keys_of(helped.batches(5), 7) == alone[5:]


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_global_generator_alone(workers: int):
    before = torch.get_rng_state()
    next(Loader(Numbers(), BATCH, seed=5, workers=workers).batches())
    list(share(Numbers(), BATCH, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_the_source_reaches_the_caller(workers: int):
    with pytest.raises(ValueError, match="cannot read sample 11"):
        keys_of(Loader(Numbers(broken=11), BATCH, seed=5, workers=workers).batches(), 4)


def test_a_signal_to_the_process_group_spares_the_workers():
    child = os.fork()
    if child == 0:  # a group of its own, so that the signal does not reach pytest
        os.setpgrp()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        batches = Loader(Numbers(), BATCH, seed=5, workers=2).batches()
        keys_of(batches, 2)  # one from each worker: both have started
        os.killpg(0, signal.SIGTERM)
        time.sleep(0.2)
        code = 1
        try:
            code = 0 if len(keys_of(batches, 9)) == 9 else 1
        finally:
            del batches
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(("batch_size", "world", "rank"), [(7, 2, 0), (0, 1, 0), (6, 2, 2)])
def test_impossible_splits_are_refused(batch_size: int, world: int, rank: int):
    with pytest.raises(ValueError, match="must be"):
        Loader(Numbers(), batch_size, seed=0, rank=rank, world=world)


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match="needs samples"):
        Loader(Numbers(0), BATCH, seed=0)


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (3, 0), (2, 2), (29, 0)])
def test_shares_cover_the_split_once_in_order(world: int, workers: int):
    seen = []
    for rank in range(world):
        batches = share(Numbers(), 5, rank=rank, world=world, workers=workers)
        first = keys_of(batches, 99)
        assert keys_of(batches, 99) == first  # re-iterable
        keys = list(itertools.chain(*first))
        assert keys == [(0, index) for index in range(rank, LENGTH, world)]
        seen += keys
    assert sorted(seen) == [(0, index) for index in range(LENGTH)]
