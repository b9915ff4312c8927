"""Pairs of sentences made on demand: to reverse, or to rewrite a date; read like images of a row.

A sentence to be read stands for an image: its numbers, with padding, are an image of one row.
"""

from collections.abc import Callable
from datetime import date
from functools import partial
from string import ascii_lowercase, digits
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Int64
from torch import Tensor

from vision_attn.data.batch import Captioned, Data, Key
from vision_attn.data.dice import Dice
from vision_attn.data.sequence_config import DatesConfig, ReversalConfig, SequencesConfig
from vision_attn.language.vocabulary import PAD, SPECIALS, Vocabulary
from vision_attn.spec import Spec


class Pair(NamedTuple):
    """Hold a sentence to be read, and what is to be said of it, in tokens."""

    read: list[str]
    said: list[str]


Author: TypeAlias = Callable[[Dice], Pair]

SPACE = "_"
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FORMS = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
    "{short} {day}, {year}",
    "{day} {short} {year}",
    "{day:02}/{number:02}/{year}",
    "{year}/{number:02}/{day:02}",
    "{day} of {month} {year}",
)
"""How people write a date; a form tells by itself where the day is and where the month."""
FIRST, LAST = date(1900, 1, 1).toordinal(), date(2099, 12, 31).toordinal()
LONGEST_DATE = len("wednesday, september 30, 2049")


class Sequences:
    """One split of made-up pairs, a pure function of (seed, epoch, index); `told` adds texts."""

    def __init__(
        self, split: str, length: int, spec: Spec, author: Author, *, seed: int, fresh: bool
    ):
        self.split, self.length, self.spec, self.author = split, length, spec, author
        self.seed, self.fresh, self.told = seed, fresh, split != "train"
        self.vocabulary = Vocabulary(spec.names)

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, keys: list[Key]) -> Captioned:
        """Make a batch of pairs, all read sentences padded to the same length."""
        pairs = [self.pair(key) for key in keys]
        numbers = self.vocabulary.numbers
        read = _padded([[numbers[x] for x in pair.read] for pair in pairs], self.spec.image_size[1])
        said = [self.vocabulary.encode(pair.said) for pair in pairs]
        lengths = torch.tensor([[len(x)] for x in said])
        texts: list[tuple[str, ...]] = []
        if self.told:
            texts = [(" ".join(pair.said),) for pair in pairs]
        words = _padded(said, int(lengths.max()))
        return Captioned(read[:, None, None], words[:, None], lengths, texts, [])

    def pair(self, key: Key) -> Pair:
        """Make one pair."""
        epoch, index = key
        if not 0 <= index < self.length:
            raise IndexError(f"index must be in [0, {self.length}), got {index}")
        number = index + epoch * self.length if self.fresh else index
        return self.author(Dice(self.seed, self.split, number))

    def references(self) -> list[list[list[str]]]:
        """Give what is to be said of each sentence of the first epoch, in order."""
        return [[self.pair((0, index)).said] for index in range(self.length)]


def build_reversal(config: ReversalConfig) -> Data:
    """Open the three splits; nothing is made before it is read."""
    alphabet = tuple(ascii_lowercase[: config.letters])
    author = partial(reversed_row, alphabet, config.shortest, config.longest)
    return _build(config, alphabet, config.longest, author)


def build_dates(config: DatesConfig) -> Data:
    """Open the three splits; nothing is made before it is read."""
    return _build(config, (*ascii_lowercase, *digits, *",/", SPACE), LONGEST_DATE, written_date)


def reversed_row(alphabet: tuple[str, ...], shortest: int, longest: int, dice: Dice) -> Pair:
    """Draw a row of letters, to be said backwards."""
    row = [dice.pick(alphabet) for _ in range(dice.between(shortest, longest))]
    return Pair(row, row[::-1])


def written_date(dice: Dice) -> Pair:
    """Draw a day and a way to write it, to be said as in ISO 8601, basic format."""
    day = date.fromordinal(dice.between(FIRST, LAST))
    text = dice.pick(FORMS).format(
        day=day.day,
        month=MONTHS[day.month - 1],
        short=MONTHS[day.month - 1][:3],
        number=day.month,
        year=day.year,
        weekday=WEEKDAYS[day.weekday()],
    )
    return Pair(list(text.replace(" ", SPACE)), list(f"{day.year}{day.month:02}{day.day:02}"))


def _build(config: SequencesConfig, tokens: tuple[str, ...], longest: int, author: Author) -> Data:
    names = (*SPECIALS, *tokens)
    spec = Spec(image_size=(1, longest), names=names, channels=1, mean=(0.0,), std=(1.0,))
    seed = config.seed
    return Data(
        spec,
        Sequences("train", config.train, spec, author, seed=seed, fresh=config.fresh),
        Sequences("valid", config.valid, spec, author, seed=seed, fresh=False),
        Sequences("test", config.test, spec, author, seed=seed, fresh=False),
    )


def _padded(rows: list[list[int]], width: int) -> Int64[Tensor, "row {width}"]:
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
