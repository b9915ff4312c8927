"""Image files by the words of a command line: files, folders and patterns."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def find(words: Iterable[str], own: Sequence[Path]) -> list[Path]:
    """Find files by their names, by folders that hold them, and by patterns; each comes once.

    Hidden files of folders are left out, and what lies in the resolved folders `own`. Raises
    ValueError for a word that leads nowhere, and if no file is found.
    """
    words = list(words)
    paths = list(dict.fromkeys(_paths(words, own)))
    if not paths:
        raise ValueError(f"a source must hold image files, got none in {' '.join(words)}")
    return paths


def _paths(words: Iterable[str], own: Sequence[Path]) -> Iterator[Path]:
    for word in words:
        found = (
            [Path(word)]
            if Path(word).exists()
            else sorted(map(Path, glob.glob(word, recursive=True)))
        )
        if not found:
            raise ValueError(
                f"a source must be a file, a folder, a pattern or a recipe, got {word}: no such "
                f"file"
            )
        for path in found:
            yield from _inside(path, own) if path.is_dir() else [path]


def _inside(folder: Path, own: Sequence[Path]) -> Iterator[Path]:
    for path in sorted(_walk(folder)):
        # A link that leads nowhere is a file that cannot be read: it is found, and told.
        listed = path.is_file() or path.is_symlink()
        if listed and not any(map(path.resolve().is_relative_to, own)):
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for home, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(home, name) for name in files if not name.startswith("."))
