"""Lines kept on disk as they are made, so that work that was cut short goes on."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Line: TypeAlias = Mapping[str, Any]


class Journal:
    """Append lines to a file that begins with what they depend on.

    Lines of an earlier call with the same `about` are kept, others forgotten; one that a kill cut
    short is taken away.
    """

    def __init__(self, path: Path, about: Line):
        self.path = path
        head = json.dumps(about).encode() + b"\n"
        self.length = 0
        if path.exists() and path.read_bytes()[: len(head)] == head:
            self.length = self._keep_whole_lines() - 1
        else:
            path.write_bytes(head)

    def _keep_whole_lines(self) -> int:
        count = end = 0
        with self.path.open("rb+") as file:
            for line in file:
                if line.endswith(b"\n"):
                    count, end = count + 1, end + len(line)
            file.truncate(end)
        return count

    def append(self, lines: Iterable[Line]) -> None:
        """Write lines; they are there as soon as this returns."""
        with self.path.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read all lines, one at a time."""
        with self.path.open() as file:
            next(file)
            yield from map(json.loads, file)
