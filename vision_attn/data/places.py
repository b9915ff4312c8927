"""Which settings of a data set say where on this machine its files lie, and what lies there."""

import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PLACES = ("root", "file", "valid_file", "test_file")
"""Each a file or a folder."""
PATTERNS = ("train", "valid", "test")
"""Each a pattern of files, where it is a word; drawn scenes count images by these names."""


def places(settings: Mapping[str, Any]) -> dict[str, str]:
    """Give those of the settings of a data set that say where its files lie."""
    names = (*PLACES, *PATTERNS)
    return {name: x for name, x in settings.items() if name in names and isinstance(x, str)}


def is_there(name: str, place: str) -> bool:
    """Tell whether there is a file or folder where the setting of that name says."""
    return bool(matching(place)) if name in PATTERNS else Path(place).exists()


def matching(pattern: str) -> list[str]:
    """Expand {000..009} and wildcards to the files there are, in order."""
    return sorted(path for one in _braces(pattern) for path in glob.glob(one))


def _braces(pattern: str) -> Iterator[str]:
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if found is None:
        yield pattern
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        whole = pattern[: found.start()] + str(number).zfill(len(first)) + pattern[found.end() :]
        yield from _braces(whole)
