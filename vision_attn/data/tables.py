"""Tables of image files: every row that cannot be used is told, not just the first."""

import csv
from collections.abc import Callable, Mapping
from typing import TypeAlias

from vision_attn.data.splits import FOLDERS, SplitName

Row: TypeAlias = Mapping[str, str]
TOLD = 10
"""Rows that an error lists."""


def rows(file: str, wrong: Callable[[Row], str], columns: set[str]) -> list[Row]:
    """Read a table with a header; `wrong` says what is wrong with a row, if anything is.

    Raises ValueError with a table of the rows that are wrong, and if columns are missing.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as table:
            found = list(csv.DictReader(table))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"file must be a table, got {file}: {error}") from None
    if not found or not columns <= found[0].keys():
        names = " and ".join(sorted(columns, reverse=True))
        raise ValueError(f"{file} must have a header with {names}, and at least one line")
    reasons = [(line, _reason(row, wrong)) for line, row in enumerate(found, start=2)]
    if bad := [f"\n  line {line}: {reason}" for line, reason in reasons if reason]:
        more = f"\n  and {len(bad) - TOLD:,} more" if len(bad) > TOLD else ""
        listed = "".join(bad[:TOLD])
        raise ValueError(f"{file}: {len(bad):,} of {len(found):,} rows are wrong{listed}{more}")
    return list(found)


def split_of(row: Row) -> SplitName:
    """Give the split that a row names; train where it names none."""
    return FOLDERS[row.get("split") or "train"]


def _reason(row: Row, wrong: Callable[[Row], str]) -> str:
    """Say what is wrong with a row, whatever the table is about, and by its own rule."""
    if None in row or None in row.values():
        return "more or fewer cells than the header has"
    split = row.get("split") or "train"
    found = [
        "" if row["path"] else "path is empty",
        "" if split in FOLDERS else f"split must be one of {', '.join(FOLDERS)}, got {split}",
        wrong(row),
    ]
    return "; ".join(filter(None, found))
