"""Captions in JSON: the Karpathy splits, and the annotation files of COCO."""

import json
from pathlib import Path
from typing import Any

from vision_attn.data.caption_listing import CaptionListing, Gathering, Image, folder_of, read_text
from vision_attn.data.splits import FOLDERS, SplitName

SPLITS: dict[str, SplitName] = {**FOLDERS, "restval": "train"}
"""What Karpathy calls the splits; the rest of COCO's validation images trains."""


def list_karpathy(file: str, root: str) -> CaptionListing:
    """Read the images of a dataset_*.json, each with its split and its sentences."""
    entries = _section(_read(file), "images", file)
    gathering, images = Gathering(), list[Image]()
    names = [str(x.get("filename")) for x in entries if isinstance(x, dict)]
    folder = folder_of(Path(root), names)
    for number, entry in enumerate(entries):
        place = f"{file}: images[{number}]"
        match entry:
            case {"filename": str(name), "split": str(split), "sentences": list(sentences)} if (
                split in SPLITS
            ):
                inside = Path(root, str(entry.get("filepath", "")))
                path = (inside if "filepath" in entry and inside.is_dir() else folder) / name
                images.append(Image(place, path, SPLITS[split], place))
                _add_sentences(gathering, sentences, place)
            case _:
                known = ", ".join(SPLITS)
                gathering.wrong(place, f"must have filename, sentences and a split of {known}")
    return gathering.listing(images, file)


def _add_sentences(gathering: Gathering, sentences: list[Any], place: str) -> None:
    for number, sentence in enumerate(sentences):
        where = f"{place}.sentences[{number}]"
        if isinstance(sentence, dict) and "raw" in sentence:
            key = str(sentence.get("sentid", where))
            gathering.add(place, sentence["raw"], where, key)
        else:
            gathering.wrong(where, "must have raw, the text of a caption")


def list_coco(
    file: str, valid_file: str | None, test_file: str | None, root: str
) -> CaptionListing:
    """Read annotation files, one for each split; images are known by their file names."""
    gathering, images = Gathering(), list[Image]()
    splits: dict[SplitName, str | None] = {"train": file, "valid": valid_file, "test": test_file}
    for split, annotations in splits.items():
        if annotations is not None:
            images += _coco_images(gathering, annotations, split, Path(root))
    return gathering.listing(images, file)


def _coco_images(gathering: Gathering, file: str, split: SplitName, root: Path) -> list[Image]:
    """Give the images of one annotation file, once its captions are gathered."""
    content = _read(file)
    names: dict[int, str] = {}
    found: list[Image] = []
    named = root / Path(file).stem.removeprefix("captions_")
    folder = named if named.is_dir() else root
    for number, entry in enumerate(_section(content, "images", file)):
        place = f"{file}: images[{number}]"
        match entry:
            case {"id": int(identity), "file_name": str(name)} if identity not in names:
                names[identity] = name
                found.append(Image(f"{file}: {name}", folder / name, split, place))
            case {"id": int(identity), "file_name": str(name)}:
                gathering.wrong(place, f"id {identity} is that of {names[identity]}, too")
            case _:
                gathering.wrong(place, "must have id, a whole number, and file_name")
    for number, entry in enumerate(_section(content, "annotations", file)):
        place = f"{file}: annotations[{number}]"
        match entry:
            case {"image_id": int(identity), "caption": text} if identity in names:
                key = file, str(entry.get("id", place))
                gathering.add(f"{file}: {names[identity]}", text, place, key)
            case {"image_id": identity, "caption": _}:
                gathering.wrong(place, f"no image has the id {identity!r}")
            case _:
                gathering.wrong(place, "must have image_id and caption")
    return found


def _read(file: str) -> Any:
    try:
        return json.loads(read_text(Path(file)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} must be JSON: {error}") from None


def _section(content: Any, name: str, file: str) -> list[Any]:
    """Give a list of the content; raises ValueError if there is none."""
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise ValueError(f"{file} must hold a list called {name}")
    return content[name]
