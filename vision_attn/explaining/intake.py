"""Which images are still to be explained, prepared for every network."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Bool
from torch import Tensor

from vision_attn.data.batch import Problem
from vision_attn.explaining.columns import Column
from vision_attn.explaining.sources import Item, View
from vision_attn.report.index import finished, index, kind


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
        kinds = [kind(x.network.hash, x.method, x.settings) for x in columns]
        self._done = finished(out, kinds)
        self._names = {line["image_hash"]: line["image"] for line in index(out)}
        self._taken = set(self._names.values())

    def new(self, items: Iterable[Item | Problem]) -> Iterator[Seen]:
        """Prepare images for every network, one at a time."""
        specs = list({column.network.name: column.network.spec for column in self.columns}.values())
        for item in items:
            if isinstance(item, Problem):
                self.problems.append(item)
                continue
            content = item.hash
            if content in self._done:
                self.finished += 1
                continue
            try:
                views, mask = item.prepare(specs)
            except ValueError as error:
                self.problems.append(Problem(item.path, str(error)))
                continue
            self._done.add(content)
            self.explained += 1
            yield Seen(self._name(item.name, content), content, item.label, views, mask)

    def _name(self, name: str, content: str) -> str:
        """Call a content what it was called before, and tell others of one name apart."""
        if content not in self._names:
            self._names[content] = f"{name}-{content}" if name in self._taken else name
            self._taken.add(self._names[content])
        return self._names[content]
