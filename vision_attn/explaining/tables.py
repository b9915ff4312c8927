"""Rows into a table, in the format that its file name asks for."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from vision_attn.engine.atomic import whole

Rows: TypeAlias = Iterator[Mapping[str, Any]]
Columns: TypeAlias = Mapping[str, type]
"""What kind of value each column has: str or float."""
GROUP = 16_384
"""Rows that a parquet file keeps together, and this process in memory."""


def check_format(path: Path) -> None:
    """Raise ValueError for a table that could not be written in the end."""
    if path.suffix not in FORMATS:
        raise ValueError(f"--out must end in {', '.join(FORMATS)}, got {path}")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(
            f"{path} needs a package: pip install 'vision_attn[parquet]', or take .csv or .jsonl"
        )


def write_table(path: Path, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, JSON lines or parquet, a few at a time; the file is there whole or not."""
    with whole(path) as file:
        FORMATS[path.suffix](file, columns, iter(rows))


def _csv(file: BinaryIO, columns: Columns, rows: Rows) -> None:
    lines = csv.writer(_Text(file))
    lines.writerow(columns)
    lines.writerows([row.get(name) for name in columns] for row in rows)


def _json_lines(file: BinaryIO, columns: Columns, rows: Rows) -> None:
    for row in rows:
        file.write(json.dumps({name: row.get(name) for name in columns}).encode() + b"\n")


def _parquet(file: BinaryIO, columns: Columns, rows: Rows) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds = {str: pyarrow.string(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


class _Text:
    """Let the csv module write into a file of bytes."""

    def __init__(self, file: BinaryIO):
        self.file = file

    def write(self, text: str) -> int:
        return self.file.write(text.encode())


FORMATS: Mapping[str, Callable[[BinaryIO, Columns, Rows], None]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
