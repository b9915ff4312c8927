"""What a search went through, so that a caption and its looks can be read off from its end."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from vision_attn.models.gaze import Seen


class Turn(NamedTuple):
    """One word of all captions under way."""

    rows: dict[int, int]
    """Where the captions of an image are, for those that are still searched."""
    parents: list[list[int]]
    """By row and beam: the beam that the caption was before this word."""
    words: list[list[int]]
    seen: Seen
    """By row and the beam before this word."""


class Trace:
    """Remember words, looks and where every beam came from, so that no look has to move."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def add(
        self,
        images: Int64[Tensor, " row"],
        parents: Int64[Tensor, "row beam"],
        words: Int64[Tensor, "row beam"],
        seen: Seen,
    ) -> None:
        """Note the next word of every beam of the images that are still searched."""
        rows = {image: row for row, image in enumerate(images.tolist())}
        self.turns.append(Turn(rows, parents.tolist(), words.tolist(), seen))

    def read(
        self, image: int, length: int, beam: int
    ) -> tuple[tuple[int, ...], list[Tensor | None]]:
        """Give the words of a caption of so many words that ended in a beam, and their looks.

        These are weights, places, centres and extents, or None.
        """
        words, looks = [], []
        for turn in reversed(self.turns[:length]):
            row = turn.rows[image]
            words.append(turn.words[row][beam])
            beam = turn.parents[row][beam]
            seen = turn.seen
            parts = seen.weights, seen.place, seen.centre, seen.extent
            looks.append([None if x is None else x[row, beam] for x in parts])
        stacked = [
            None if part[0] is None else torch.stack(part[::-1])
            for part in zip(*looks, strict=True)
        ]
        return tuple(words[::-1]), stacked
