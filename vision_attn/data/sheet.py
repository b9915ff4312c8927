"""A contact sheet of scenes: `python -m vision_attn.data.sheet assets/scenes.png`."""

import sys

import cv2
import numpy as np
from jaxtyping import UInt8

from vision_attn.data.draw import paint
from vision_attn.data.layout import plan


def sheet(
    rows: int, columns: int, size: int, *, seed: int = 0, split: str = "test", gap: int = 4
) -> UInt8[np.ndarray, "height width channel"]:
    """Lay out the first scenes of a split, row by row, `gap` white pixels apart."""
    image = np.full((rows * (size + gap) - gap, columns * (size + gap) - gap, 3), 255, np.uint8)
    for number in range(rows * columns):
        top, left = (place * (size + gap) for place in divmod(number, columns))
        image[top : top + size, left : left + size] = paint(plan(seed, split, number), size)
    return image


if __name__ == "__main__":
    cv2.imwrite(sys.argv[1], cv2.cvtColor(sheet(3, 8, 64), cv2.COLOR_RGB2BGR))
