"""How many scenes are drawn a second on one core, and how fast they are read once kept in a file.

Target: at least 2,000 scenes a second, drawn or from the file.
"""

import os
import tempfile
import time
from unittest.mock import patch

import torch

from vision_attn.data.config import ScenesConfig

COUNT, BATCH = 4000, 100


def main() -> list[str]:
    """Print one row an image size; the file is made in a folder that is removed afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lines = []
    for image_size in (48, 64):
        drawn = speed(ScenesConfig(image_size=image_size, train=COUNT, fresh=True))
        kept = ScenesConfig(image_size=image_size, train=COUNT)
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.dict(os.environ, VISION_ATTN_CACHE=folder),
        ):
            speed(kept)
            read = speed(kept)
        lines.append(f"{image_size} pixels  drawn {drawn:6.0f}  from the file {read:6.0f} scenes/s")
        print(lines[-1], flush=True)
    torch.set_num_threads(threads)
    return lines


def speed(config: ScenesConfig) -> float:
    """Read the training split once, in batches, and give scenes a second."""
    source = config.build().train
    start = time.perf_counter()
    for first in range(0, COUNT, BATCH):
        source.__getitems__([(0, index) for index in range(first, first + BATCH)])
    return COUNT / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
