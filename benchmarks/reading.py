"""What images cost one core before a network sees them: listing shards, reading JPEGs, an order.

Processor time, so that other work on the machine does not count.
The images are smooth noise of 500 x 375 pixels under a little grain, as JPEGs of quality 90.
"""

import gc
import io
import tarfile
import tempfile
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import torch

from vision_attn.data.config import AugmentConfig
from vision_attn.data.order import Order
from vision_attn.data.shards import list_shards
from vision_attn.data.stored_config import ShardsConfig

AUGMENT = AugmentConfig(flip=True, crop_scale=0.2)
DIFFERENT, SAMPLES, READ = 64, 10_000, 256
IMAGENET_21K = 14_197_122


def main() -> list[str]:
    """Print one row a cost."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few.tar"), Path(folder, "many.tar")
        pictures = [picture(seed) for seed in range(DIFFERENT)]
        write(few, pictures, READ)
        write(many, [b"not looked at"], SAMPLES)
        size = sum(map(len, pictures)) / DIFFERENT / 1e3
        lines = [listing(str(many)), reading(str(few), size), order()]
    print("\n".join(lines))
    return lines


def picture(seed: int) -> bytes:
    """Draw a photograph-like JPEG."""
    generator = np.random.default_rng(seed)
    smooth = cv2.resize(generator.integers(0, 256, (12, 16, 3)).astype(np.uint8), (500, 375))
    grainy = smooth + generator.normal(0, 8, smooth.shape)
    kept = cv2.imencode(
        ".jpg", grainy.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )[1]
    return kept.tobytes()


def write(path: Path, pictures: list[bytes], samples: int) -> None:
    """Write a shard in which pictures repeat."""
    with tarfile.open(path, "w") as tar:
        for number in range(samples):
            parts = {"jpg": pictures[number % len(pictures)], "cls": b"%d" % (number % 7)}
            for ending, content in parts.items():
                member = tarfile.TarInfo(f"{number:08d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def listing(path: str) -> str:
    """Measure the time and the memory that a listed sample takes."""
    start = time.process_time()
    list_shards(path)
    seconds = time.process_time() - start
    tracemalloc.start()
    kept = list_shards(path)
    gc.collect()  # a read tar hangs together in circles
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pace = len(kept.files) / seconds
    return f"listing shards    {pace:8.0f} samples/s  {size / SAMPLES:.0f} bytes a sample"


def reading(path: str, size: float) -> str:
    """Measure images/s from JPEGs in a shard to augmented pixels of 224 x 224."""
    data = ShardsConfig(train=path, image_size=224, check="never", augment=AUGMENT).build()
    keys = [(0, index) for index in range(len(data.train))]
    start = time.process_time()
    for first in range(0, len(keys), 32):
        data.train.__getitems__(keys[first : first + 32])
    pace = len(keys) / (time.process_time() - start)
    return f"reading JPEGs     {pace:8.0f} images/s   of {size:.0f} kB each"


def order() -> str:
    """Measure the order of an epoch over as many images as ImageNet-21k has."""
    start = time.process_time()
    Order(IMAGENET_21K, 1, seed=0).permutation(0)
    return f"order of an epoch {time.process_time() - start:8.2f} s of {IMAGENET_21K:,} images"


if __name__ == "__main__":
    main()
