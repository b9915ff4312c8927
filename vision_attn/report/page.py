"""One self-contained page to browse an export: images x methods x models, and who looks where."""

import base64
import html
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image

from vision_attn.engine.atomic import whole
from vision_attn.explain.methods import AGNOSTIC
from vision_attn.explain.methods import SIGNED as SIGNED_METHODS
from vision_attn.report.figures import TITLES, title
from vision_attn.report.index import index
from vision_attn.report.looks import LEVELS, SHAPES, SINKS, Looks
from vision_attn.report.overlay import SIGNED, UNSIGNED, rims

HERE = Path(__file__).parent
SIDE = 32
"""Samples of a map's longer side on the page; the files keep every pixel."""
STEPS = 65535
"""Values of a map are rounded to so many steps between its lowest and its highest."""


class Store:
    """Collect arrays and pictures in one run of bytes, and remember where each one lies."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0

    def add(self, content: bytes) -> list[int]:
        """Append bytes at the next multiple of 4; give their offset and length."""
        padding = -self.length % 4  # typed arrays of the page start at multiples of their width
        self.parts += [bytes(padding), content]
        self.length += padding + len(content)
        return [self.length - len(content), len(content)]


def page(folder: Path | str, *, heading: str = "Where they look", most: int = 100) -> Path:
    """Write report.html from what `export` wrote; it needs no network and no other file.

    Shows the first `most` images and says so where there are more. Raises ValueError if the folder
    holds no export.
    """
    folder = Path(folder)
    names: dict[str, dict[str, Any]] = {}
    for line in index(folder):
        names.setdefault(line["image"], {})[line["file"]] = line
    if not names:
        raise ValueError(f"{folder} must hold an export (index.jsonl), got none; export maps first")
    store = Store()
    content = {
        "heading": heading,
        "total": len(names),
        "levels": LEVELS,
        "sinks": SINKS,
        "steps": STEPS,
        "colours": {x: store.add(_colours(x)) for x in (UNSIGNED, SIGNED)},
        "images": [
            _image(folder, name, list(lines.values()), store)
            for name, lines in islice(names.items(), most)
        ],
    }
    text = (HERE / "page.html").read_text()
    for place, words in {
        "style": (HERE / "page.css").read_text(),
        "script": (HERE / "page.js").read_text(),
        "heading": html.escape(heading),
        "data": pack(content, store),
    }.items():
        text = text.replace(f"{{{{{place}}}}}", words)
    with whole(folder / "report.html") as file:
        file.write(text.encode())
    return folder / "report.html"


def pack(content: Mapping[str, Any], store: Store) -> str:
    """Join description and bytes, compress, and write as text: length, JSON, padding, bytes."""
    head = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    head += b" " * (-len(head) % 4)
    raw = len(head).to_bytes(4, "little") + head + b"".join(store.parts)
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def _image(folder: Path, name: str, lines: list[dict[str, Any]], store: Store) -> dict[str, Any]:
    with np.load(folder / f"{name}.npz") as file:
        about = json.loads(str(file["about"]))
        models = [
            {
                "name": TITLES.get(model, model),
                "answer": about["answers"].get(model),
                "maps": [_map(folder, line, store) for line in group],
                "looks": _looks(file, model, store),
            }
            for model, group in groupby(lines, lambda line: line["model"])
        ]
        height, width = file["picture"].shape[:2]
        return {
            "name": name,
            "label": about["label"],
            "size": [height, width],
            "picture": _picture(file["picture"], store),
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
        "target": "every class" if line["method"] in AGNOSTIC else line["target_name"],
        "scores": {title(name): score for name, score in line["scores"].items()},
        "settings": line["settings"],
        "shape": list(values.shape),
        "low": low,
        "high": high,
        "values": store.add(steps.round().astype("<u2").tobytes()),
    }


def sampled(values: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "row column"]:
    """Average a map over equal tiles, so that its longer side has at most `SIDE` samples."""
    factor = -(-max(values.shape) // SIDE)
    size = max(values.shape[0] // factor, 1), max(values.shape[1] // factor, 1)
    tiles = F.adaptive_avg_pool2d(torch.from_numpy(values)[None].double(), size)
    return tiles[0].numpy()


def _looks(file: Mapping[str, Any], model: str, store: Store) -> dict[str, Any] | None:
    if f"looks/{model}/levels" not in file:
        return None
    found = {name: file[f"looks/{model}/{name}"] for name in Looks._fields}
    layers, heads = found["levels"].shape[:2]
    small = {name: found.pop(name).tolist() for name in (*SHAPES, "sinks")}
    places = {name: store.add(array.tobytes()) for name, array in found.items()}
    return {"layers": layers, "heads": heads, **small, **places}


def _picture(picture: UInt8[np.ndarray, "height width rgb"], store: Store) -> list[Any]:
    kind = "png" if max(picture.shape) <= 96 else "jpeg"  # small ones would show JPEG's blocks
    content = io.BytesIO()
    Image.fromarray(picture).save(content, kind, quality=88)
    return [*store.add(content.getvalue()), f"image/{kind}"]


def _rims(file: Mapping[str, Any], height: int, width: int) -> Iterator[list[float]]:
    """Give the borders of the object as x, y, x, y ..., shares of the width and height."""
    if "mask" in file:
        for rim in rims(torch.from_numpy(file["mask"])):
            yield ((rim + 0.5) / [width, height]).round(4).flatten().tolist()


def _colours(name: str) -> bytes:
    table = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return (table * 255).round().astype(np.uint8).tobytes()
