"""Small pictures as files: alone, in tars, and in a folder of two classes."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(number: int, kind: str = "png") -> bytes:
    """Draw a picture whose brightness is ten times its number."""
    file = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), 10 * number, np.uint8)).save(file, kind)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_photos(folder: Path) -> Path:
    """Eight pictures in folders a and b."""
    for number in range(8):
        place = folder / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (31, 29), (30 * number, 90, 7)).save(place)
    return folder


def write_noise(folder: Path, count: int, rows: int, columns: int) -> Path:
    """Pictures in folders a and b by turns, no two of them alike."""
    for number in range(count):
        place = folder / "ab"[number % 2] / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (rows, columns, 3), np.uint8)
        Image.fromarray(noise).save(place)
    return folder
