"""Pictures by their index: kept in memory, or read from files, all of them once to begin with."""

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8, UInt64
from torch import Tensor
from tqdm import tqdm

from vision_attn.data.batch import Key, Problem
from vision_attn.data.decode import decode
from vision_attn.data.files import Stored
from vision_attn.data.loader import read_ahead
from vision_attn.data.transforms import Image, Images, fit
from vision_attn.spec import Spec

Digests: TypeAlias = UInt64[np.ndarray, " image"]
NONE: Digests = np.zeros(0, np.uint64)
"""Of images that are no files, or before these were read."""
REMEDY = "`vision-attn data` lists all such files, and data.check=always leaves them out"
CHUNK = 32
"""Files that a process decodes at a time while a set is opened."""


class Pictures(Protocol):
    """Give images by their index in the whole set."""

    @property
    def files(self) -> Sequence[Stored]:
        """Say where the images come from; nothing where they are no files."""

    @property
    def digests(self) -> Digests:
        """Fingerprint each file."""

    def __call__(self, indices: list[int]) -> Images:
        """Read the images at these indices."""


class Pixels(NamedTuple):
    """Hold fitted images in memory."""

    values: UInt8[Tensor, "image row column channel"]
    files: Sequence[Stored] = ()
    digests: Digests = NONE

    def __call__(self, indices: list[int]) -> Images:
        """Copy the images at these indices."""
        return torch.from_numpy(self.values.numpy()[indices])  # ten times torch's indexing


class Files(NamedTuple):
    """Read images from their files."""

    files: Sequence[Stored]
    channels: int
    at_least: int = 0
    """Pixels of the shorter side that a large JPEG keeps; 0 for all."""
    digests: Digests = NONE

    def __call__(self, indices: list[int]) -> Images:
        """Read and decode the files at these indices; raises ValueError naming a bad one."""
        images = []
        for index in indices:
            try:
                images.append(self.image(index))
            except ValueError as error:
                remedy = "" if len(self.digests) else f"; {REMEDY}"
                raise ValueError(f"{self.files[index]}: {error}{remedy}") from None
        return images

    def image(self, index: int) -> Image:
        """Read and decode one file; raises ValueError with the reason why not."""
        return self.decoded(self.content(index))

    def content(self, index: int) -> bytes:
        """Read one file; raises ValueError with the reason why not."""
        try:
            return self.files[index].read()
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None

    def decoded(self, content: bytes) -> Image:
        """Decode what was read; raises ValueError with the reason why not."""
        return decode(content, self.channels, self.at_least)


class _Decoded(NamedTuple):
    """Carry decoded files from a worker; as numpy, which goes through a pipe, not shared memory."""

    numbers: list[int]
    digests: list[int]
    pixels: list[Image]
    """Fitted; none if they are not to be kept."""
    problems: list[Problem]


class _Decoding:
    """Decode files in chunks, so that workers share the reading of a whole set."""

    def __init__(self, files: Files, spec: Spec, stored: bool):
        self.files, self.spec, self.stored = files, spec, stored

    def __getitems__(self, keys: list[Key]) -> _Decoded:
        decoded = _Decoded([], [], [], [])
        for _, number in keys:
            try:
                content = self.files.content(number)
                image = self.files.decoded(content)
            except ValueError as error:
                decoded.problems.append(Problem(str(self.files.files[number]), str(error)))
                continue
            decoded.numbers.append(number)
            decoded.digests.append(digest(content))
            if self.stored:
                decoded.pixels.append(fit(image, self.spec))
        return decoded


def digest(content: bytes) -> int:
    """Fingerprint a file in 64 bits, which differ for different content in any real set."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class Everything(NamedTuple):
    """What was found while every file was decoded once."""

    values: UInt8[Tensor, "image row column channel"]
    """Fitted pixels; empty if they were not to be kept."""
    digests: Digests
    """Fingerprint of each file; 0 for those that are unusable."""
    problems: list[Problem]


def read_all(files: Files, spec: Spec, stored: bool) -> Everything:
    """Decode every file once, and keep the pixels if `stored`."""
    count = len(files.files)
    values = torch.zeros(count if stored else 0, *spec.image_size, spec.channels, dtype=torch.uint8)
    keys = [(0, number) for number in range(count)]
    order = [keys[start : start + CHUNK] for start in range(0, count, CHUNK)]
    digests = np.zeros(count, np.uint64)
    problems = []
    with tqdm(desc="images", total=count, unit="image", delay=1, disable=None) as bar:
        for decoded in read_ahead(_Decoding(files, spec, stored), order, processes(len(order))):
            digests[decoded.numbers] = np.array(decoded.digests, np.uint64)
            if stored:
                for number, pixels in zip(decoded.numbers, decoded.pixels, strict=True):
                    values.numpy()[number] = pixels
            problems += decoded.problems
            bar.update(min(CHUNK, count - bar.n))
    return Everything(values, digests, problems)


def processes(chunks: int) -> int:
    """Count the processes worth starting; a few files are read faster without any."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return cores if chunks >= 8 * cores and cores > 1 else 0


def few(problems: list[Problem], count: int, bad_share: float, what: str = "files") -> None:
    """Refuse a set of which too much is unusable."""
    if len(problems) > bad_share * count:
        listed = "\n".join(f"  {problem.path}: {problem.reason}" for problem in problems[:5])
        raise ValueError(
            f"at most bad_share={bad_share:g} of the {what} may be unusable, got {len(problems)} "
            f"of {count}; mend or remove them, or raise bad_share; the first are\n{listed}"
        )
