"""One self-contained page of captions: point at a word to see where was looked for it."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vision_attn.explain.maps import normalise
from vision_attn.report.captions import Told
from vision_attn.report.overlay import UNSIGNED, Picture, to_bytes
from vision_attn.report.packing import Store, colours, pack, picture, sampled, write_page

LOOKS = {
    "maps": "",
    "places": "A circle is the region that a hard look took.",
    "windows": "Boxes are what the glimpse covers at each of its scales, the line is its way.",
}
"""What the page says below about each kind of look."""


class Shown(NamedTuple):
    """An image of the page with its captions, the best one first."""

    name: str
    picture: Picture
    captions: Sequence[Told]


def caption_page(
    images: Sequence[Shown], folder: Path, *, total: int, heading: str = "What they say, and where"
) -> Path:
    """Write report.html, which needs no network and no other file; `total` counts all captioned."""
    store = Store()
    content = {
        "total": total,
        "colours": store.add(colours(UNSIGNED)),
        "images": [_image(shown, store) for shown in images],
    }
    kind = _kind(images[0].captions[0])
    words = {
        "heading": html.escape(heading),
        "looks": LOOKS[kind],
        "data": pack(content, store),
    }
    return write_page(folder / "report.html", "caption_page", words)


def _kind(told: Told) -> str:
    if told.centres is not None:
        return "windows"
    return "maps" if told.places is None else "places"


def _image(shown: Shown, store: Store) -> dict[str, Any]:
    return {
        "name": shown.name,
        "size": list(shown.picture.shape[:2]),
        "picture": picture(to_bytes(shown.picture), store),
        "captions": [_caption(told, store) for told in shown.captions],
    }


def _caption(told: Told, store: Store) -> dict[str, Any]:
    found: dict[str, Any] = {
        "words": list(told.words),
        "log_prob": told.log_prob,
        "ended": told.ended,
    }
    if told.centres is not None and told.extents is not None:
        middles = ((told.centres.cpu() + 1) / 2).unsqueeze(1).tolist()
        spans = (told.extents.cpu() / 2).tolist()
        windows = [[*x, *y] for x, y in zip(middles, spans, strict=True)]
        return found | {"windows": _rounded(windows)}
    if told.places is not None:
        found["places"] = _rounded(((told.places.cpu() + 1) / 2).tolist())
    scaled = normalise(told.maps.float(), shared=True).cpu().numpy()
    levels = np.stack([sampled(one) for one in scaled])
    values = (levels * 255).round().astype(np.uint8).tobytes()
    return found | {"shape": list(levels.shape[1:]), "values": store.add(values)}


def _rounded(numbers: Any) -> Any:
    """Keep four digits, as much as a screen can show."""
    return json.loads(json.dumps(numbers), parse_float=lambda digits: round(float(digits), 4))
