"""A layout as a table: one line a parameter, followed in both directions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from vision_attn.formats.trained import refusal
from vision_attn.rules import grouped


class Layout(NamedTuple):
    """How a parameter of ours is laid out elsewhere."""

    read: Callable[[Sequence[Tensor]], Tensor]
    """From the tensors there to the one here."""
    write: Callable[[Tensor, int], Sequence[Tensor]]
    """From the one here, and the number of heads, to the tensors there."""


SAME = Layout(lambda parts: parts[0], lambda own, heads: (own,))
"""One tensor of the same shape."""


class Entry(NamedTuple):
    """One parameter by both names; several there are one here."""

    ours: str
    theirs: tuple[str, ...]
    layout: Layout = SAME


def same(ours: str, theirs: str) -> Entry:
    """Name a parameter that only the name of differs."""
    return Entry(ours, (theirs,))


def pair(ours: str, theirs: str) -> tuple[Entry, Entry]:
    """Name the weight and the bias of a module."""
    return same(f"{ours}.weight", f"{theirs}.weight"), same(f"{ours}.bias", f"{theirs}.bias")


def norm(ours: str, theirs: str) -> tuple[Entry, ...]:
    """Name all that a batch norm keeps."""
    kept = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return tuple(same(f"{ours}.{name}", f"{theirs}.{name}") for name in kept)


def read(state: Mapping[str, Tensor], table: Iterable[Entry]) -> dict[str, Tensor]:
    """Give what the table knows our names; the rest keeps its own.

    Raises ValueError where only a part of a parameter is there.
    """
    left, found = dict(state), {}
    for entry in table:
        parts = [left.pop(name) for name in entry.theirs if name in left]
        if len(parts) == len(entry.theirs):
            found[entry.ours] = entry.layout.read(parts)
        elif parts:
            raise ValueError(
                f"{entry.ours} is made of {', '.join(entry.theirs)}, of which only {len(parts)} "
                f"are there; the file is not complete"
            )
    return found | left


def write(
    state: Mapping[str, Tensor], table: Iterable[Entry], *, heads: int, library: str
) -> dict[str, Tensor]:
    """Give parameters the names and shapes of the table.

    Raises ValueError naming what the table has no place for, or asks for in vain.
    """
    entries = {entry.ours: entry for entry in table}
    homeless, absent = state.keys() - entries.keys(), entries.keys() - state.keys()
    if homeless or absent:
        reasons = [f"has no place for {', '.join(grouped(homeless))}"] * bool(homeless)
        reasons += [f"needs {', '.join(grouped(absent))}"] * bool(absent)
        raise refusal(library, f"it {' and '.join(reasons)}")
    return {
        name: part.contiguous()
        for entry in entries.values()
        for name, part in zip(
            entry.theirs, entry.layout.write(state[entry.ours], heads), strict=True
        )
    }


def depth_of(names: Iterable[str], before: str) -> int:
    """Count the blocks whose names begin with `before` and a number."""
    numbers = {
        name.removeprefix(before).partition(".")[0].partition("/")[0]
        for name in names
        if name.startswith(before)
    }
    return len([number for number in numbers if number.isdecimal()])
