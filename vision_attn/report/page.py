"""One self-contained page to browse an export: images x methods x models, and who looks where."""

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vision_attn.explain.methods import AGNOSTIC
from vision_attn.explain.methods import SIGNED as SIGNED_METHODS
from vision_attn.report.figures import TITLES, title
from vision_attn.report.index import held
from vision_attn.report.looks import LEVELS, SHAPES, SINKS, Looks
from vision_attn.report.overlay import SIGNED, UNSIGNED, rims
from vision_attn.report.packing import SIDE, Store, colours, pack, picture, sampled, write_page

STEPS = 65535
"""Values of a map are rounded to so many steps between its lowest and its highest."""


def page(folder: Path | str, *, heading: str = "Where they look", most: int = 100) -> Path:
    """Write report.html from what `export` wrote; it needs no network and no other file.

    Shows the first `most` images and says so where there are more; maps whose files were deleted
    are left out. Raises ValueError if the folder holds no export.
    """
    store = Store()
    content = contents(Path(folder), store, most)
    return write_page(Path(folder) / "report.html", "page", places(heading, content, store))


def places(heading: str, content: Mapping[str, Any], store: Store) -> dict[str, str]:
    """Give the words that fill the places of a page of maps."""
    return {
        "heading": html.escape(heading),
        "side": str(SIDE),
        "data": pack(content, store),
    }


def contents(folder: Path, store: Store, most: int) -> dict[str, Any]:
    """Describe the first `most` images of an export, and put what is large into the store."""
    names: set[str] = set()
    shown: dict[str, list[dict[str, Any]]] = {}
    for line in held(folder):
        names.add(line["image"])
        if line["image"] in shown or len(shown) < most:
            shown.setdefault(line["image"], []).append(line)
    if not names:
        raise ValueError(f"{folder} must hold an export (index.jsonl), got none; export maps first")
    return {
        "total": len(names),
        "levels": LEVELS,
        "sinks": SINKS,
        "steps": STEPS,
        "colours": {x: store.add(colours(x)) for x in (UNSIGNED, SIGNED)},
        "images": [_image(folder, name, lines, store) for name, lines in shown.items()],
    }


def _by_model(lines: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Gather the maps of each model, which may have been added one method at a time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        found.setdefault(line["model"], []).append(line)
    return found


def _image(
    folder: Path, name: str, lines: Iterable[dict[str, Any]], store: Store
) -> dict[str, Any]:
    with np.load(folder / f"{name}.npz") as file:
        about = json.loads(str(file["about"]))
        models = [
            {
                "name": TITLES.get(model, model),
                "answer": about["answers"].get(model),
                "maps": [_map(folder, line, store) for line in group],
                "looks": _looks(file, model, store),
            }
            for model, group in _by_model(lines).items()
        ]
        height, width = file["picture"].shape[:2]
        return {
            "name": name,
            "label": about["label"],
            "size": [height, width],
            "picture": picture(file["picture"], store),
            "rims": list(_rims(file, height, width)),
            "models": models,
        }


def _map(folder: Path, line: Mapping[str, Any], store: Store) -> dict[str, Any]:
    with np.load(folder / line["file"]) as file:
        values = sampled(file["map"])
    low, high = float(values.min()), float(values.max())
    steps = (values - low) / (high - low or 1) * STEPS
    return {
        "method": title(line["method"]),
        "signed": line["method"] in SIGNED_METHODS,
        "flat": line["flat"],
        "target": _target(line),
        "scores": {title(name): score for name, score in line["scores"].items()},
        "settings": line["settings"],
        "shape": list(values.shape),
        "low": low,
        "high": high,
        "values": store.add(steps.round().astype("<u2").tobytes()),
    }


def _target(line: Mapping[str, Any]) -> str:
    """Name the explained class, and how it was chosen where it is not the network's answer."""
    if line["method"] in AGNOSTIC:
        return "every class"
    name, chosen = line["target_name"], line["settings"].get("target", "predicted")
    return name if chosen == "predicted" else f"{name} ({chosen})"


def _looks(file: Mapping[str, Any], model: str, store: Store) -> dict[str, Any] | None:
    if f"looks/{model}/levels" not in file:
        return None
    found = {name: file[f"looks/{model}/{name}"] for name in Looks._fields}
    layers, heads = found["levels"].shape[:2]
    small = {name: found.pop(name).tolist() for name in (*SHAPES, "sinks")}
    places = {name: store.add(array.tobytes()) for name, array in found.items()}
    return {"layers": layers, "heads": heads, **small, **places}


def _rims(file: Mapping[str, Any], height: int, width: int) -> Iterator[list[float]]:
    """Give the borders of the object as x, y, x, y ..., shares of the width and height."""
    if "mask" in file:
        for rim in rims(torch.from_numpy(file["mask"])):
            yield ((rim + 0.5) / [width, height]).round(4).flatten().tolist()
