"""Drawn scenes kept for this and later runs: made once by all cores, mapped from a file."""

import hashlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from vision_attn.data.describe import WIDTH, sentences
from vision_attn.data.draw import VERSION, paint
from vision_attn.data.grammar import VERSION as GRAMMAR
from vision_attn.data.layout import plan

_SPAN = 250
_ALONE = 2_000
"""Scenes that one process draws sooner than others could start to help."""


class Album(NamedTuple):
    """Name a run of drawn scenes, the first `length` of a split, and what is kept of them."""

    seed: int
    split: str
    length: int
    size: int
    """Pixels a side; decides captions too, for they name what can be seen."""
    kind: Literal["scenes", "captions"] = "scenes"
    """Images, or sentences in numbers (see `describe`)."""

    @property
    def path(self) -> Path:
        """Say where all of it is kept; another version of drawing or language has another file."""
        versions = (VERSION,) if self.kind == "scenes" else (VERSION, GRAMMAR)
        digest = hashlib.sha256(repr((*versions, *self[:4])).encode()).hexdigest()[:16]
        return cache_folder() / f"{self.kind}-{self.split}-{self.length}x{self.size}-{digest}.npy"

    @property
    def shape(self) -> tuple[int, ...]:
        """Give the shape of the whole array."""
        each = (self.size, self.size, 3) if self.kind == "scenes" else (5, WIDTH)
        return self.length, *each

    def draw(self, start: int, stop: int) -> UInt8[np.ndarray, "batch *shape"]:
        """Paint the scenes from start up to stop, or write about them."""
        if self.kind == "captions":
            numbers = range(start, stop)
            return np.stack([sentences(self.seed, self.split, i, self.size) for i in numbers])
        scenes = (plan(self.seed, self.split, i) for i in range(start, stop))
        return np.stack([paint(scene, self.size) for scene in scenes])


def cache_folder() -> Path:
    """Give the folder of VISION_ATTN_CACHE, else one in the user's cache folder."""
    if chosen := os.environ.get("VISION_ATTN_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "vision_attn"


def pictures(album: Album) -> UInt8[np.ndarray, "batch *shape"]:
    """Give the whole of an album, from its file if there is one; else draw it and keep it.

    Falls back to memory, with a warning, where the cache folder cannot be written.
    """
    try:
        path = album.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                if not path.exists():  # another process may have drawn it meanwhile
                    _fill(album, path)
        return np.load(path, mmap_mode="r")
    except OSError as error:
        warnings.warn(
            f"scenes are drawn again in every run: {cache_folder()} cannot keep them ({error}); "
            f"set VISION_ATTN_CACHE to a folder with room",
            stacklevel=2,
        )
        return np.concatenate([album.draw(*span) for span in _progress(album)])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time draw a file; the system opens the lock of a killed one."""
    try:
        import fcntl
    except ImportError:  # Windows: two processes may draw the same file, and either one will do
        yield
        return
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(album: Album, path: Path) -> None:
    """Draw an album to a file beside `path` and move it there whole."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=album.shape)
        cores = _cores() if album.length > _ALONE else 1
        if cores == 1:
            for start, stop in _progress(album):
                _write(album, part, start, stop)
        else:
            _together(album, part, cores)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(album: Album, part: Path, start: int, stop: int) -> None:
    """Draw a span into its place, by plain writes: a full disk kills who maps the file instead."""
    images = album.draw(start, stop)
    with part.open("r+b") as file:
        file.seek((start - album.length) * images[0].nbytes, os.SEEK_END)
        file.write(images.tobytes())


def _together(album: Album, part: Path, cores: int) -> None:
    """Draw with a process for each core; each writes a line for every span it finished.

    They are fresh interpreters rather than forks: torch's threads do not survive a fork, and a
    spawned pool would run the caller's script again.
    """
    read, write = os.pipe()
    command = [sys.executable, "-m", __name__, *map(str, album), str(part), str(cores)]
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    artists = [
        subprocess.Popen([*command, str(place)], stdout=write, env=environment)
        for place in range(cores)
    ]
    os.close(write)
    try:
        with open(read) as lines, _bar(album) as bar:
            for line in lines:
                bar.update(int(line))
        if any(artist.wait() for artist in artists):
            raise OSError(f"a process that drew {part.parent / album.path.name} failed")
    finally:
        for artist in artists:
            artist.kill()
            artist.wait()


def _cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _spans(length: int) -> list[tuple[int, int]]:
    """Cut scene numbers into spans (start, stop)."""
    return [(start, min(start + _SPAN, length)) for start in range(0, length, _SPAN)]


def _bar(album: Album) -> tqdm:
    """Show progress on stderr; small albums are not worth a bar."""
    name = f"drawing {album.split} {album.kind}, {album.size} px"
    return tqdm(total=album.length, desc=name, unit=" scenes", disable=album.length <= _ALONE)


def _progress(album: Album) -> Iterator[tuple[int, int]]:
    """Give the spans of an album under a progress bar."""
    with _bar(album) as bar:
        for start, stop in _spans(album.length):
            yield start, stop
            bar.update(stop - start)


def _artist(album: Album, part: Path, cores: int, place: int) -> None:
    """Draw every `cores`-th span from `place` on, and say so on stdout."""
    for start, stop in _spans(album.length)[place::cores]:
        _write(album, part, start, stop)
        os.write(1, f"{stop - start}\n".encode())  # whole lines, though processes share the pipe


if __name__ == "__main__":
    _seed, _split, _length, _size, _kind, _part, _cores_used, _place = sys.argv[1:]
    _album = Album(int(_seed), _split, int(_length), int(_size), cast(Any, _kind))
    _artist(_album, Path(_part), int(_cores_used), int(_place))
