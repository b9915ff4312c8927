"""Splits of other sets, their labels numbered as a network numbers its classes of these names."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from vision_attn.data.batch import Key, Labelled, Tagged
from vision_attn.rules import nearest

TOLD = 10
"""Names that an error lists."""


class Renamed:
    """A split with other numbers for its labels; all else is that of the split."""

    def __init__(self, source: Any, numbers: Int[Tensor, " label"], outputs: int):
        self.source, self.numbers, self.outputs = source, numbers, outputs

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, keys: list[Key]) -> Labelled | Tagged:
        """Give a batch of prepared images with the labels that the network knows."""
        batch = self.source.__getitems__(keys)
        if isinstance(batch, Labelled):
            return batch._replace(labels=self.numbers[batch.labels])
        known = self.numbers >= 0
        labels = batch.labels.new_zeros(len(batch.labels), self.outputs)
        labels[:, self.numbers[known]] = batch.labels[:, known]
        return batch._replace(labels=labels)

    def only(self, places: list[int]) -> "Renamed":
        """Give a split of some of the images and their labels."""
        return Renamed(self.source.only(places), self.numbers, self.outputs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by pickle before there is a split to ask
            raise AttributeError(name)
        return getattr(self.source, name)


def renamed(source: Any, names: Sequence[str], known: Sequence[str], what: str) -> Any:
    """Number the labels of a split, which has `names`, as in `known`; `what` is what it is of.

    Raises ValueError if an image bears a name that is not known.
    """
    if tuple(names) == tuple(known):
        return source
    hold_known([names[label] for label in _borne(source, len(names))], known, what)
    places = {name: place for place, name in enumerate(known)}
    return Renamed(source, torch.tensor([places.get(name, -1) for name in names]), len(known))


def _borne(source: Any, outputs: int) -> list[int]:
    """List the labels that images bear; all of them where no list of labels is kept."""
    labels = getattr(source, "labels", None)
    if labels is None:
        return list(range(outputs))
    if labels.ndim == 1:
        return labels.unique().tolist()
    return labels.any(0).nonzero().flatten().tolist()


def hold_known(names: Sequence[str], known: Sequence[str], what: str) -> None:
    """Raise ValueError if one of the names is not known; `what` is what they are of."""
    strange = sorted(set(names) - set(known))
    if strange:
        near = nearest(strange[0], known)
        hint = f" (did you mean {near}?)" if near else ""
        raise ValueError(
            f"images must be of classes that the network knows, got {_listed(strange)}{hint} in "
            f"{what}; it knows {_listed(known)}; rename these classes, or give images of the "
            f"others alone"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - TOLD:,} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more
