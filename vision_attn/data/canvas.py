"""Pictures on canvases: in the centre or anywhere, alone or among pieces of others."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from vision_attn.data.batch import Data, Key, Labelled
from vision_attn.data.canvas_config import ON_BLACK, CanvasConfig
from vision_attn.data.chance import uniforms
from vision_attn.data.dice import STREAMS
from vision_attn.data.reading import digest
from vision_attn.data.transforms import normalise
from vision_attn.spec import Spec

GREY = 128
"""Level of the ground under coloured pictures."""
PIECE = 5
"""Numbers that decide a piece: of which picture, its corner there, its corner on the canvas."""
Canvas: TypeAlias = UInt8[np.ndarray, "batch row column channel"]
Corners: TypeAlias = Int64[np.ndarray, "batch 2"]
"""Row and column of the top left pixel."""


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
        adds = self.config.source in ON_BLACK
        wide = self._blank(len(keys), self.spec.channels, 0 if adds else GREY)
        for pieces, corners in self._pieces(draws[:, 2:], indices):
            _lay(self._inside(wide), pieces, corners, adds)
        _lay(wide, self.album.images(indices).numpy(), self._places(draws), adds)
        return torch.from_numpy(self._inside(wide))

    def digests(self) -> list[str]:
        """Fingerprint every canvas of the first epoch, in hexadecimal."""
        canvases = (self.images([(0, index)]) for index in range(len(self)))
        return [f"{digest(canvas.numpy().tobytes()):016x}" for canvas in canvases]

    def _blank(self, count: int, channels: int, level: int) -> Canvas:
        """Give empty canvases, so much wider that a shifted picture fits on them."""
        side = self.config.image_size + 2 * self.config.shift
        return np.full((count, side, side, channels), level, np.uint8)

    def _inside(self, wide: Canvas) -> Canvas:
        """Cut off what canvases are wider; a view."""
        inside = slice(self.config.shift, self.config.shift + self.config.image_size)
        return wide[:, inside, inside]

    def _draws(self, keys: Sequence[Key]) -> Float64[np.ndarray, "batch draw"]:
        repeats = not (self.trains and self.config.fresh)
        keys = [(0, index) for _, index in keys] if repeats else keys
        return uniforms(self.seed, keys, 2 + PIECE * self.config.clutter)

    def _places(self, draws: Float64[np.ndarray, "batch draw"]) -> Corners:
        """Choose the top left corner of every picture, on the wide canvas."""
        config = self.config
        room = config.image_size - config.picture_size
        if config.place == "anywhere":
            return _floor(draws[:, :2], room + 1)
        shift = config.shift if self.trains else 0
        return config.shift + room // 2 - shift + _floor(draws[:, :2], 2 * shift + 1)

    def _pieces(
        self, draws: Float64[np.ndarray, "batch draw"], indices: list[int]
    ) -> Iterator[tuple[Canvas, Corners]]:
        """Cut a piece for every canvas, and choose where it goes, as often as there is clutter."""
        config, size = self.config, self.config.piece_size
        draws = draws.reshape(len(indices), config.clutter, PIECE)
        which = _floor(draws[..., 0], len(self.others) - self.trains)
        which += self.trains & (which >= np.array(indices)[:, None])
        cut = _floor(draws[..., 1:3], config.picture_size - size + 1)
        corners = _floor(draws[..., 3:], config.image_size - size + 1)
        pictures = self.others.images(which.ravel().tolist()).numpy()
        pieces = _windows(pictures, size)[_at(cut.reshape(-1, 2))]
        pieces = pieces.reshape(*which.shape, *pieces.shape[1:])
        return zip(pieces.swapaxes(0, 1), corners.swapaxes(0, 1), strict=True)


class MaskedCanvases(Canvases):
    """Canvases whose pictures' main objects are known."""

    album: Any

    def masks(self, indices: list[int]) -> Bool[Tensor, "batch height width"]:
        """Give the visible pixels of each canvas's main object, in the first epoch."""
        places = self._places(self._draws([(0, index) for index in indices]))
        wide = self._blank(len(indices), 1, 0)
        _lay(wide, self.album.masks(indices).numpy()[..., None].astype(np.uint8), places, False)
        return torch.from_numpy(self._inside(wide)[..., 0] > 0)


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


def _lay(canvases: Canvas, pictures: Canvas, corners: Corners, adds: bool) -> None:
    """Lay a picture on each canvas; light adds up to white, paint covers."""
    windows, here = _windows(canvases, pictures.shape[1]), _at(corners)
    windows[here] = np.minimum(windows[here], 255 - pictures) + pictures if adds else pictures


def _windows(canvases: Canvas, size: int) -> UInt8[np.ndarray, "batch top left row column channel"]:
    """Show every square of `size` pixels of every canvas; a view that can be written to."""
    squares = sliding_window_view(canvases, (size, size), (1, 2), writeable=True)
    return np.moveaxis(squares, 3, -1)


def _at(corners: Corners) -> tuple[np.ndarray, ...]:
    """Index one window of each canvas."""
    return np.arange(len(corners)), *corners.T
