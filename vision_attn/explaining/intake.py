"""Which images are still to be explained, prepared for every network."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Bool
from torch import Tensor

from vision_attn.data.batch import Problem
from vision_attn.explaining.columns import Column
from vision_attn.explaining.sources import Item, View
from vision_attn.report.index import finished, index, key


class Seen(NamedTuple):
    """An image as each network reads it, and the name its files take."""

    name: str
    hash: str
    label: int | None
    views: list[View]
    mask: Bool[Tensor, "height width"] | None


class Intake:
    """Let through the images that are not explained yet, and keep account of all others."""

    def __init__(self, out: Path, columns: Sequence[Column]):
        self.columns = columns
        self.explained = self.finished = 0
        self.problems: list[Problem] = []
        self._done = finished(out)
        self._names = {line["image"]: line["image_hash"] for line in index(out)}

    def new(self, items: Iterable[Item | Problem]) -> Iterator[Seen]:
        """Prepare images for every network, one at a time."""
        specs = list({column.network.name: column.network.spec for column in self.columns}.values())
        for item in items:
            if isinstance(item, Problem):
                self.problems.append(item)
                continue
            content = item.hash
            keys = {key(content, x.network.hash, x.method, x.settings) for x in self.columns}
            if keys <= self._done:
                self.finished += 1
                continue
            try:
                views, mask = item.prepare(specs)
            except ValueError as error:
                self.problems.append(Problem(item.path, str(error)))
                continue
            self._done |= keys
            self.explained += 1
            yield Seen(self._name(item.name, content), content, item.label, views, mask)

    def _name(self, name: str, content: str) -> str:
        """Tell files of one name and different content apart."""
        if self._names.setdefault(name, content) != content:
            name = f"{name}-{content}"
            self._names[name] = content
        return name
