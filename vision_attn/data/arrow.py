"""Sets that the `datasets` library of Hugging Face wrote to disk, read row by row."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.data.files import Listing
from vision_attn.data.splits import FOLDERS, SplitName


class ArrowFile(NamedTuple):
    """Point to the image in one row of a table, and say what it belongs to."""

    path: str
    label: str
    split: SplitName
    table: Any
    """A datasets.Dataset whose images are left encoded."""
    row: int
    column: str
    place: str

    def __str__(self) -> str:
        return f"{self.path}:{self.place}"

    def read(self) -> bytes:
        """Give the bytes; raises OSError."""
        cell = self.table[self.row][self.column]
        if cell is None:
            raise OSError(2, "no image in this row")
        return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()


def list_arrow(root: str, image: str, label: str) -> Listing:
    """List the rows of a folder of `save_to_disk`: one table, or one a split.

    Raises ValueError without the library, for what is no such folder, and for columns that are not
    there.
    """
    if find_spec("datasets") is None:
        raise ValueError("data.name=datasets needs a package; pip install 'vision_attn[datasets]'")
    import datasets

    try:
        loaded = datasets.load_from_disk(root)
    except (OSError, ValueError) as error:
        raise ValueError(f"root must be a folder of save_to_disk, got {root}: {error}") from None
    tables = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    if unknown := [name for name in tables if name not in FOLDERS]:
        raise ValueError(f"splits must be among {', '.join(FOLDERS)}, got {', '.join(unknown)}")
    files: list[ArrowFile] = []
    for split, table in tables.items():
        if missing := {image, label} - {*table.column_names}:
            raise ValueError(
                f"{root} must have the columns image={image} and label={label}, got "
                f"{', '.join(table.column_names)} without {', '.join(sorted(missing))}"
            )
        encoded = table.cast_column(image, datasets.Image(decode=False))
        kind, numbers = table.features[label], table[label]
        words = kind.int2str(list(numbers)) if hasattr(kind, "int2str") else map(str, numbers)
        for row, word in enumerate(words):
            place = f"{split}/{row}"
            files.append(ArrowFile(root, word, FOLDERS[split], encoded, row, image, place))
    there = {file.label for file in files}
    names = tuple(name for name in getattr(kind, "names", None) or sorted(there) if name in there)
    if len(names) < 2:
        raise ValueError(f"{root} must hold two or more classes, got {', '.join(names) or 'none'}")
    return Listing(files, names, [])
