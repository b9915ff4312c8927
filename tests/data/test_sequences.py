from dataclasses import replace
from datetime import date, datetime
from itertools import islice

import pytest
import torch

from vision_attn.data.loader import Loader
from vision_attn.data.sequence_config import DatesConfig, ReversalConfig
from vision_attn.data.sequences import FORMS, LONGEST_DATE, MONTHS, WEEKDAYS, Sequences
from vision_attn.language.tokens import tokens
from vision_attn.language.vocabulary import END, Vocabulary

REVERSAL = ReversalConfig(train=23, valid=7, test=5, letters=11, shortest=2, longest=7, seed=3)
DATES = DatesConfig(train=500, valid=7, test=5, seed=3)


def read(split: Sequences, batch) -> list[str]:
    names = split.spec.names
    return ["".join(names[x] for x in row if x) for row in batch.image.flatten(1).tolist()]


def said(split: Sequences, batch) -> list[str]:
    vocabulary = Vocabulary(split.spec.names)
    return ["".join(vocabulary.decode(row)) for row in batch.words.flatten(1).tolist()]


def test_rows_are_said_backwards():
    data = REVERSAL.build()
    assert data.spec.image_size == (1, 7)
    assert data.spec.names[4:] == tuple("abcdefghijk")
    batch = data.train.__getitems__([(0, i) for i in range(23)])
    assert batch.image.shape == (23, 1, 1, 7)
    assert batch.image.dtype == batch.words.dtype == torch.int64
    rows = read(data.train, batch)
    assert said(data.train, batch) == [row[::-1] for row in rows]
    assert {len(row) for row in rows} == set(range(2, 8))
    assert batch.lengths.flatten().tolist() == [len(row) + 1 for row in rows]
    for row, length in zip(batch.words[:, 0], batch.lengths[:, 0], strict=True):
        assert row[length - 1] == END
        assert not row[length:].any()


def day_of(text: str) -> date:
    """Read a written date by its parts."""
    parts = text.replace(",", "").replace("_of", "").split("_")
    if len(parts) == 1:
        return datetime.strptime(text, "%Y/%m/%d" if text[4] == "/" else "%d/%m/%Y").date()
    weekday = parts.pop(0) if parts[0] in WEEKDAYS else None
    names = {name: i for i, x in enumerate(MONTHS, start=1) for name in (x, x[:3])}
    month = next(names[part] for part in parts if part in names)
    day, year = (int(part) for part in parts if part.isdigit())
    found = date(year, month, day)
    assert weekday in (None, WEEKDAYS[found.weekday()])
    return found


def test_dates_are_said_in_digits():
    data = DATES.build()
    batch = data.train.__getitems__([(0, i) for i in range(500)])
    texts = read(data.train, batch)
    days = [day_of(text) for text in texts]
    assert said(data.train, batch) == [day.strftime("%Y%m%d") for day in days]
    assert batch.image.shape[-1] == LONGEST_DATE >= max(map(len, texts))
    assert {day.month for day in days} == set(range(1, 13))
    assert min(days).year < 1910
    assert max(days).year > 2090
    shapes = {"".join("x" if c.isalpha() else "9" if c.isdigit() else c for c in t) for t in texts}
    assert len(shapes) > len(FORMS)


def test_what_is_said_survives_the_tokeniser():
    for config in (REVERSAL, DATES):
        valid = config.build().valid
        batch = valid.__getitems__([(0, i) for i in range(7)])
        wanted = valid.references()
        assert [[tokens(text) for text in texts] for texts in batch.texts] == wanted
        assert said(valid, batch) == ["".join(captions[0]) for captions in wanted]


def test_fresh_pairs_differ_in_every_epoch():
    train, kept = REVERSAL.build().train, replace(REVERSAL, fresh=False).build().train
    first, later = (train.__getitems__([(epoch, 5)]) for epoch in (0, 1))
    assert read(train, first) != read(train, later)
    assert read(kept, kept.__getitems__([(1, 5)])) == read(kept, kept.__getitems__([(0, 5)]))
    data = REVERSAL.build()
    assert data.valid.pair((0, 1)) != data.test.pair((0, 1)) != data.train.pair((0, 1))
    with pytest.raises(IndexError, match=r"index must be in \[0, 7\), got 7"):
        data.valid.pair((0, 7))


def test_workers_and_resumption_change_no_pair():
    train = DATES.build().train
    whole = list(islice(Loader(train, 8, seed=1).batches(), 5))
    helped = islice(Loader(train, 8, seed=1, workers=2).batches(2), 3)
    for batch, other in zip(whole[2:], helped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch[:3], other[:3], strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"letters": 27}, r"letters must be in \[2, 26\], got 27"),
        ({"shortest": 9}, r"shortest must be in \[1, longest\], got shortest=9 and longest=7"),
        ({"train": 0, "workers": -1}, "train must be 1 or more pairs, got 0\nworkers must be 0"),
    ],
)
def test_impossible_sequences_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(REVERSAL, **settings)
