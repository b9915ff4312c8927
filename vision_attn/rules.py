"""How a broken rule is told: all of a section at once, and without a traceback."""

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
