"""Small sets of captioned images, and the colours that tell them apart."""

from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 13
VERBS = ("runs", "sits", "sleeps", "jumps", "eats")


def captions(index: int) -> list[str]:
    """Write five captions of an image; the colour word names its brightness."""
    colour = ("black", "grey", "white")[index % 3]
    return [f"A {colour} dog , number {index} , {verb} ." for verb in VERBS]


def picture(path: Path, index: int, size: tuple[int, int] = (23, 29)) -> None:
    """Save a noisy picture of one of three brightnesses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(index).integers(-20, 21, (*size, 3))
    level = (40, 128, 215)[index % 3]
    Image.fromarray((level + noise).clip(0, 255).astype(np.uint8)).save(path)


def names(start: int = 0, stop: int = COUNT) -> list[str]:
    """Name images."""
    return [f"{index}.png" for index in range(start, stop)]


def flickr8k(root: Path, images: str = "Images") -> Path:
    """Write a set of 13 images in the form of Flickr8k: 9 train, 4 validate."""
    for index, name in enumerate(names()):
        picture(root / images / name, index)
    lines = [
        f"{name}#{number}\t{text}"
        for index, name in enumerate(names())
        for number, text in enumerate(captions(index))
    ]
    (root / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (root / "Flickr_8k.trainImages.txt").write_text("\n".join(names(0, 9)) + "\n")
    (root / "Flickr_8k.devImages.txt").write_text("\n".join(names(9)) + "\n")
    return root
