"""Pictures on canvases: in the centre or anywhere, alone or among pieces of others."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from vision_attn.data.batch import Data, Key, Labelled
from vision_attn.data.canvas_config import ON_BLACK, CanvasConfig
from vision_attn.data.chance import uniforms
from vision_attn.data.dice import STREAMS
from vision_attn.data.transforms import normalise
from vision_attn.spec import Spec

GREY = 128
"""Level of the ground under coloured pictures."""
PIECE = 5
"""Numbers that decide a piece: of which picture, its corner there, its corner on the canvas."""


class Album(Protocol):
    """Give pictures as they are stored."""

    def __len__(self) -> int:
        """Count the pictures."""

    def images(self, indices: list[int]) -> UInt8[Tensor, "batch row column channel"]:
        """Give the pictures at these indices, unchanged."""


class Canvases:
    """One split: a canvas for each picture, a pure function of (seed, epoch, index).

    Pieces of clutter are cut from `others`, the training pictures, and never from the picture they
    lie about. On black they add their light; in colour they lie under the picture.
    """

    def __init__(
        self,
        split: str,
        album: Album,
        others: Album,
        labels: Int64[Tensor, " picture"],
        config: CanvasConfig,
        spec: Spec,
    ):
        self.album, self.others, self.labels = album, others, labels
        self.config, self.spec, self.trains = config, spec, split == "train"
        self.seed = config.seed * len(STREAMS) + STREAMS.index(split)

    def __len__(self) -> int:
        return len(self.album)

    def __getitems__(self, keys: list[Key]) -> Labelled:
        """Lay out a batch of canvases, and normalise it."""
        return Labelled(normalise(self.images(keys), self.spec), self.labels[_indices(keys)])

    def images(self, keys: Sequence[Key]) -> UInt8[Tensor, "batch row column channel"]:
        """Give canvases as they are drawn."""
        draws, indices = self._draws(keys), _indices(keys)
        size, channels = self.config.image_size, self.spec.channels
        adds = self.config.source in ON_BLACK
        canvases = np.full((len(keys), size, size, channels), 0 if adds else GREY, np.uint8)
        places = self._places(draws)
        pieces = self._pieces(draws[:, 2:], indices)
        pictures = self.album.images(indices).numpy()
        for canvas, picture, place, around in zip(canvases, pictures, places, pieces, strict=True):
            for piece, corner in around:
                _put(canvas, piece, corner, adds)
            _put(canvas, picture, place, adds)
        return torch.from_numpy(canvases)

    def _draws(self, keys: Sequence[Key]) -> Float64[np.ndarray, "batch draw"]:
        repeats = not (self.trains and self.config.fresh)
        keys = [(0, index) for _, index in keys] if repeats else keys
        return uniforms(self.seed, keys, 2 + PIECE * self.config.clutter)

    def _places(self, draws: Float64[np.ndarray, "batch draw"]) -> list[list[int]]:
        """Choose the top left corner of every picture."""
        config = self.config
        room = config.image_size - config.picture_size
        if config.place == "anywhere":
            return _floor(draws[:, :2], room + 1).tolist()
        shift = config.shift if self.trains else 0
        return (room // 2 - shift + _floor(draws[:, :2], 2 * shift + 1)).tolist()

    def _pieces(
        self, draws: Float64[np.ndarray, "batch draw"], indices: list[int]
    ) -> list[list[tuple[UInt8[np.ndarray, "row column channel"], list[int]]]]:
        """Cut the pieces of every canvas, and choose where they go."""
        config, size = self.config, self.config.piece_size
        draws = draws.reshape(len(indices), config.clutter, PIECE)
        own = np.array(indices)[:, None]
        which = _floor(draws[..., 0], len(self.others) - self.trains)
        which += self.trains & (which >= own)
        cut = _floor(draws[..., 1:3], config.picture_size - size + 1)
        corners = _floor(draws[..., 3:], config.image_size - size + 1).tolist()
        pictures = self.others.images(which.ravel().tolist()).numpy()
        pieces = [
            picture[top : top + size, left : left + size]
            for picture, (top, left) in zip(pictures, cut.reshape(-1, 2).tolist(), strict=True)
        ]
        return [
            list(zip(pieces[start * config.clutter :], around, strict=False))
            for start, around in enumerate(corners)
        ]


class MaskedCanvases(Canvases):
    """Canvases whose pictures' main objects are known."""

    album: Any

    def masks(self, indices: list[int]) -> Bool[Tensor, "batch height width"]:
        """Give the visible pixels of each canvas's main object, in the first epoch."""
        places = self._places(self._draws([(0, index) for index in indices]))
        masks = np.zeros((len(indices), *self.spec.image_size), bool)
        for canvas, mask, place in zip(masks, self.album.masks(indices), places, strict=True):
            _put(canvas, mask.numpy(), place, False)
        return torch.from_numpy(masks)


def build(config: CanvasConfig) -> Data:
    """Open the pictures, and lay them on canvases whose ground is 0 to the model.

    Beyond the border a glimpse sees 0, too, so the border does not tell where it is.
    """
    inner = config.pictures.build()
    channels, grey = inner.spec.channels, GREY / 255
    on_black = config.source in ON_BLACK
    spec = Spec(
        image_size=(config.image_size, config.image_size),
        names=inner.spec.names,
        channels=channels,
        mean=(0.0 if on_black else grey,) * channels,
        std=inner.spec.std,
    )
    kind = MaskedCanvases if config.source == "scenes" else Canvases
    albums: dict[str, Any] = {name: getattr(inner, name) for name in STREAMS}
    splits = {
        name: kind(name, album, albums["train"], _labels(album, len(spec.names)), config, spec)
        for name, album in albums.items()
        if album is not None
    }
    return Data(spec, splits["train"], splits["valid"], splits.get("test"), inner.problems)


def _labels(album: Any, classes: int) -> Int64[Tensor, " picture"]:
    """Tell the label of every picture; a scene's is its number, modulo the classes."""
    return album.labels if hasattr(album, "labels") else torch.arange(len(album)) % classes


def _indices(keys: Sequence[Key]) -> list[int]:
    return [index for _, index in keys]


def _floor(draws: Float64[np.ndarray, "*shape"], count: int) -> Int64[np.ndarray, "*shape"]:
    """Turn numbers in [0, 1) into whole ones below `count`."""
    return (draws * count).astype(np.int64)


def _put(canvas: np.ndarray, picture: np.ndarray, corner: Sequence[int], adds: bool) -> None:
    """Lay a picture on a canvas, as far as it is inside; light adds up to white, paint covers."""
    top, left = corner
    rows = slice(max(top, 0), min(top + len(picture), len(canvas)))
    columns = slice(max(left, 0), min(left + picture.shape[1], canvas.shape[1]))
    part = picture[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    under = canvas[rows, columns]
    canvas[rows, columns] = np.minimum(under, 255 - part) + part if adds else part
