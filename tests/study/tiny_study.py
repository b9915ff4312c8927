"""A study of networks that train in no time, on noisy pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
STUDY = """\
run: {folder}/study
shares: [0.3, 1]
seeds: [3]
networks:
  a: {{recipe: a.yaml, init: {folder}/init}}
  b: {{recipe: b.yaml}}
settings:
  train: {{steps: 4, log_every: 1, device: cpu}}
fine_tuning:
  train: {{rate: 2e-3}}
"""
DATA = "data: {{name: folder, root: {folder}/photos, image_size: 24, test_share: 0.25}}\n"
MODELS = {
    "a": "model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}\n",
    "b": "model: {name: resnet, depths: [1, 1, 1, 1], channels: [2, 3, 5, 7], stem: small}\n",
}


def write_study(folder: Path) -> Path:
    """Write study, recipes and data; `init` is an empty file."""
    rng = np.random.default_rng(0)
    for number in range(46):
        place = folder / "photos" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(place)
    for name, model in MODELS.items():
        (folder / f"{name}.yaml").write_text(DATA.format(folder=folder) + model)
    (folder / "init").touch()
    path = folder / "study.yaml"
    path.write_text(STUDY.format(folder=folder))
    return path
