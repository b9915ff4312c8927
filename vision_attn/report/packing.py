"""What pages carry: arrays and pictures in one run of bytes, compressed into text."""

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image

from vision_attn.engine.atomic import whole

HERE = Path(__file__).parent
SIDE = 32
"""Samples of a map's longer side on the page; the files keep every pixel."""


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


def pack(content: Mapping[str, Any], store: Store) -> str:
    """Join description and bytes, compress, and write as text: length, JSON, padding, bytes."""
    head = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    head += b" " * (-len(head) % 4)
    raw = len(head).to_bytes(4, "little") + head + b"".join(store.parts)
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def sampled(values: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "row column"]:
    """Average a map over equal tiles, so that its longer side has at most `SIDE` samples."""
    factor = -(-max(values.shape) // SIDE)
    size = max(values.shape[0] // factor, 1), max(values.shape[1] // factor, 1)
    tiles = F.adaptive_avg_pool2d(torch.from_numpy(values)[None].double(), size)
    return tiles[0].numpy()


def picture(pixels: UInt8[np.ndarray, "height width rgb"], store: Store) -> list[Any]:
    """Add an image; give its place and kind."""
    kind = "png" if max(pixels.shape) <= 96 else "jpeg"  # small ones would show JPEG's blocks
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=88)
    return [*store.add(content.getvalue()), f"image/{kind}"]


def colours(name: str) -> bytes:
    """Give the 256 colours of a colour map, red, green and blue in bytes."""
    table = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return (table * 255).round().astype(np.uint8).tobytes()


def write_page(
    path: Path, name: str, words: Mapping[str, str], scripts: Sequence[str] = ()
) -> Path:
    """Write the page of that name: the frame of all pages, its own files, words for places.

    `scripts` are those of other pages that its own one builds on.
    """
    read = [(HERE / f"{script}.js").read_text() for script in ("frame", *scripts, name)]
    styles = [HERE / "frame.css", *HERE.glob(f"{name}.css")]
    own = {
        "page": (HERE / f"{name}.html").read_text(),
        "style": "".join(style.read_text() for style in styles),
        "script": "".join(read),
    }
    text = (HERE / "frame.html").read_text()
    for place, found in (own | dict(words)).items():
        text = text.replace(f"{{{{{place}}}}}", found)
    with whole(path) as file:
        file.write(text.encode())
    return path
