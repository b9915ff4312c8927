"""The retina on a whole batch against a loop over its images, as glimpse code usually has it.

A ratio above 1 means faster than the loop. Target: at least 5 for every glimpse of a sequence; what
is made ready once an image is shared out among the glimpses.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import ratios
from vision_attn.models.retina import Retina

BATCH = 128
CASES = {  # name: (image size, patch size, scales, glimpses)
    "MNIST 28": (28, 8, 1, 6),
    "cluttered 60": (60, 12, 3, 8),
    "cluttered 100": (100, 12, 4, 8),
}


def main(repeats: int = 7) -> list[str]:
    """Print one row a case."""
    lines = []
    for name, (image_size, size, scales, glimpses) in CASES.items():
        draw = torch.Generator().manual_seed(0)
        images = torch.rand(BATCH, 1, image_size, image_size, generator=draw)
        centres = torch.rand(glimpses, BATCH, 2, generator=draw) * 2 - 1
        # Whole places of whole pixels, where both must see the same.
        corners = (centres + 1) * image_size / 2
        centres = corners.round() * 2 / image_size - 1
        subjects = {
            "loop": lambda i=images, c=centres, s=size, n=scales: [loop(i, x, s, n) for x in c],
            "retina": lambda i=images, c=centres, s=size, n=scales: batched(i, c, s, n),
        }
        for seen, expected in zip(subjects["retina"](), subjects["loop"](), strict=True):
            torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)
        measured = ratios(subjects, "loop", repeats)
        seconds, ratio = measured["retina"]
        lines.append(
            f"{name:14} loop {1e6 * measured['loop'][0] / BATCH / glimpses:6.1f} us  "
            f"retina {1e6 * seconds / BATCH / glimpses:5.1f} us a glimpse  ratio {ratio:5.1f}"
        )
    print("\n".join(lines))
    return lines


def batched(images: Tensor, centres: Tensor, size: int, scales: int) -> list[Tensor]:
    """Look at all places, a whole batch at a time."""
    look = Retina(images, size=size, scales=scales)
    return [look(x) for x in centres]


def loop(images: Tensor, centres: Tensor, size: int, scales: int) -> Tensor:
    """Cut patches out of one image after the other, and pool those of the same scale together."""
    patches = []
    for scale in range(scales):
        side = size * 2**scale
        padded = F.pad(images, (side,) * 4)
        corners = ((centres + 1) * images.shape[-1] / 2).round().int() + side // 2
        cut = [
            image[:, y : y + side, x : x + side]
            for image, (x, y) in zip(padded, corners.tolist(), strict=True)
        ]
        patches.append(F.avg_pool2d(torch.stack(cut), 2**scale))
    return torch.cat(patches, 1)


if __name__ == "__main__":
    main()
