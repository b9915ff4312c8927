"""The settings of sets with several labels an image; read before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.data.config import FilesConfig

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class MultilabelCsvConfig(FilesConfig):
    """Image files with any number of labels each, listed in a table with the column path.

    Labels stand in one column, labels, or have a column each with 0 or 1 in it.
    """

    name: Literal["csv_multilabel"] = "csv_multilabel"
    file: str
    """The table, with a header line; paths are relative to its folder, splits (in a column split,
    if wanted) train, val, test."""
    separator: str = "|"
    """Between the labels in the column labels; an empty cell means that none applies."""

    def _broken(self) -> Iterator[str]:
        yield from super()._broken()
        if not self.separator or self.separator.isspace():
            yield f"separator must not be blank, got {self.separator!r}"

    def build(self) -> Data:
        """Open the data set: specification and splits."""
        from vision_attn.data.multilabel import build

        return build(self)
