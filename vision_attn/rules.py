"""How it is told what is wrong: all of it at once, in few words, without a traceback."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from traceback import walk_tb


def hold(broken: Iterable[str]) -> None:
    """Raise ValueError, a line for each rule that is broken, if any is."""
    if lines := "\n".join(broken):
        raise ValueError(lines)


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
