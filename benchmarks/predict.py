"""Prediction from JPEG files against the bare network on decoded batches: images/s and the bound.

A ratio of 1 means that reading, decoding, normalising and writing cost nothing. Target: 0.9
wherever decoding can keep up. With an accelerator threads decode meanwhile, and the slower of the
two is the bound; a network on the CPU takes turns with them, so their seconds an image add up.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.timing import ratios
from vision_attn.data.transforms import normalise
from vision_attn.engine.distributed import find
from vision_attn.explaining.ahead import cores
from vision_attn.explaining.journal import Journal
from vision_attn.explaining.networks import Loaded
from vision_attn.explaining.predictor import Predictor, Reader
from vision_attn.explaining.sources import Files
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

SPEC = Spec(image_size=(224, 224), names=tuple(map(str, range(1000))), crop=0.875)
NETWORKS = {
    "ResNet-18": ResNetConfig(depths=(2, 2, 2, 2), block="basic", stem="imagenet"),
    "ViT-S/16": ViTConfig(size="S", patch_size=16),
}


def main(repeats: int = 7) -> list[str]:
    """Print one row a network."""
    device = find("auto").device
    images, batch_size = (128, 64) if device.type == "cpu" else (2048, 128)
    lines = [f"{images} photographs of 500x375 pixels, batches of {batch_size}, {cores()} threads"]
    with tempfile.TemporaryDirectory() as home:
        files = Files(draw(Path(home), images), SPEC.names)
        spans = [range(at, at + batch_size) for at in range(0, images, batch_size)]
        for name, config in NETWORKS.items():
            loaded = Loaded(name, config.build(SPEC).eval().to(device), SPEC, random=True)
            journal = Journal(Path(home, f"{len(lines)}.journal"), {})
            found = ratios(subjects(loaded, device, files, spans, journal), "network", repeats, 1)
            lines.append(
                row(name, {x: images / seconds for x, (seconds, _) in found.items()}, device)
            )
    print("\n".join(lines))
    return lines


def subjects(
    loaded: Loaded, device: torch.device, files: Files, spans: list[range], journal: Journal
) -> dict[str, Callable[[], object]]:
    """Give the network alone, the decoding alone, and both as `predict` has them."""
    reader, predictor = Reader(files, SPEC), Predictor(loaded, device, top_k=5)
    pixels = next(reader.batches(spans, cores(), device)).images
    assert pixels is not None
    decoded = normalise(pixels.to(device), SPEC)

    @torch.no_grad()
    def network() -> None:
        for _ in spans:
            answers = loaded.model(decoded)
        answers.cpu()

    def decoding() -> None:
        for _ in reader.batches(spans, cores(), device):
            pass

    def predicting() -> None:
        for batch in reader.batches(spans, cores(), device):
            journal.append(predictor.lines(batch, None))

    return {"network": network, "decoding": decoding, "predict": predicting}


def row(name: str, rates: dict[str, float], device: torch.device) -> str:
    """Hold prediction against the network and against what decoding leaves it."""
    network, decoding, predict = rates["network"], rates["decoding"], rates["predict"]
    together = 1 / (1 / network + 1 / decoding)
    bound = together if device.type == "cpu" else min(network, decoding)
    what = "network" if network < decoding else "decoding"
    return (
        f"{name:10} network {network:7.1f} images/s, decoding {decoding:7.1f}, predict "
        f"{predict:7.1f}: ratio {predict / network:4.2f} to the network, {predict / bound:4.2f} to "
        f"the bound on this device ({bound:.1f}); the {what} is the slower part"
    )


def draw(folder: Path, count: int) -> list[Path]:
    """Write JPEG files with about as much detail as photographs have."""
    paths = []
    for number in range(count):
        noise = np.random.default_rng(number).normal(128, 60, (94, 125, 3))
        pixels = cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), pixels.clip(0, 255).astype(np.uint8))
    return paths


if __name__ == "__main__":
    main()
