"""Settings that break their own rules say so for all of the rules at once."""

from collections.abc import Iterable


def hold(broken: Iterable[str]) -> None:
    """Raise ValueError, a line for each rule that is broken, if any is."""
    if lines := "\n".join(broken):
        raise ValueError(lines)
