"""Captioned images as their files list them, with everything that is wrong about the entries."""

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

from vision_attn.data.batch import Problem
from vision_attn.data.files import File
from vision_attn.data.splits import SplitName


class CaptionListing(NamedTuple):
    """List the images of a set with their captions."""

    files: list[File]
    texts: list[tuple[str, ...]]
    """Captions of each file, as they were written."""
    entries: int
    """Captions and images that were read, to weigh the problems against."""
    problems: list[Problem]
    """Wrong, missing and duplicate entries, all left out."""
    strays: list[Problem]
    """Entries that belong to no split: no fault of theirs."""


class Image(NamedTuple):
    """Name an image, and say what of."""

    name: str
    """What its captions were added to."""
    path: Path
    split: SplitName
    place: str
    """Where it is listed."""


class Gathering:
    """Bring the captions of images together, and note what is wrong with an entry."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self.entries = 0
        self._places: dict[Hashable, str] = {}

    def wrong(self, place: str, reason: str) -> None:
        """Leave an entry out."""
        self.entries += 1
        self.problems.append(Problem(place, reason))

    def add(self, image: str, text: object, place: str, key: Hashable) -> None:
        """Take a caption, unless it is none or its key came before."""
        if key in self._places:
            self.wrong(place, f"the same entry as {self._places[key]}")
        elif not isinstance(text, str) or not any(map(str.isalnum, text)):
            self.wrong(place, f"a caption must have words, got {text!r}")
        else:
            self.entries += 1
            self._places[key] = place
            self.texts.setdefault(image, []).append(text.strip())

    def listing(self, images: Iterable[Image], source: str) -> CaptionListing:
        """Join captions to the images of all splits; raises ValueError if none are left."""
        found: dict[Path, Image] = {}
        for image in images:
            if image.path in found:
                first = found[image.path]
                reason = f"{image.path.name} is listed before: {first.place} ({first.split})"
                self.wrong(image.place, reason)
            elif image.name not in self.texts:
                self.wrong(image.place, f"{image.path.name} has no captions")
            else:
                self.entries += 1
                found[image.path] = image
        if not found:
            why = [f"; {problem.path}: {problem.reason}" for problem in self.problems[:1]]
            raise ValueError(f"{source} must hold captioned images, got none{''.join(why)}")
        used = {image.name for image in found.values()}
        strays = [
            Problem(name, f"in no split; its {len(texts)} captions are not used")
            for name, texts in self.texts.items()
            if name not in used
        ]
        files = [File(str(image.path), "", image.split) for image in found.values()]
        texts = [tuple(self.texts[image.name]) for image in found.values()]
        return CaptionListing(files, texts, self.entries, self.problems, strays)


def folder_of(root: Path, names: list[str]) -> Path:
    """Find the images: in a folder itself, or in the folder inside that has most of them."""
    inside = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    probed = names[:100]
    return max((root, *inside), key=lambda folder: sum((folder / x).is_file() for x in probed))


def read_text(path: Path) -> str:
    """Read a file of UTF-8; raises ValueError if it cannot be."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: {error}") from None
