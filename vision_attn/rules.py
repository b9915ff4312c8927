"""How it is told what is wrong: all of it at once, in few words, without a traceback."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from traceback import walk_tb
from typing import Literal, get_args, get_origin, get_type_hints


class Config:
    """Settings, a frozen dataclass, that hold their rules as soon as they are made."""

    def __post_init__(self) -> None:
        hold([*_wrong_choices(self), *self._broken()])

    def _broken(self) -> Iterator[str]:
        """Give a line for each rule that is broken."""
        yield from ()


def hold(broken: Iterable[str]) -> None:
    """Raise ValueError, a line for each rule that is broken, if any is."""
    if lines := "\n".join(broken):
        raise ValueError(lines)


def _wrong_choices(config: Config) -> Iterator[str]:
    """Tell which words are none of those that a setting is chosen from."""
    hints = get_type_hints(type(config))
    for field in fields(config):  # type: ignore[arg-type]
        kinds = (hints[field.name], *get_args(hints[field.name]))
        choices = [x for kind in kinds if get_origin(kind) is Literal for x in get_args(kind)]
        given = getattr(config, field.name)
        if choices and str not in kinds and isinstance(given, str) and given not in choices:
            near = nearest(given, [x for x in choices if isinstance(x, str)])
            hint = f"; did you mean {near}?" if near else ""
            yield f"{field.name} must be one of {', '.join(map(str, choices))}, got {given}{hint}"


def foreseen(error: Exception) -> bool:
    """Tell what the user can mend, such as a broken rule or a missing file, from a bug.

    This package words what it raises for the user; what a library raises below it is unexpected.
    """
    if isinstance(error, OSError):
        return error.filename is not None
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].startswith("vision_attn.")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find what was probably meant."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return near[0] if near else None


def grouped(names: Iterable[str]) -> list[str]:
    """Name what differs in a number only once: blocks.*.norm1.weight (12)."""
    counts = Counter(re.sub(r"(?<![a-zA-Z])\d+(?=[./])", "*", name) for name in sorted(names))
    return [f"{name} ({count})" if "*" in name else name for name, count in counts.items()]
