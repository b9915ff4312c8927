"""Recipes that are right, one of them trained in a second, and the lines about one that is not."""

from pathlib import Path

import pytest

from vision_attn.checking.mistakes import RecipeError
from vision_attn.recipe import read

GOOD = """\
data:
  name: scenes
  image_size: 28
model:
  name: vit
  depth: 4
  patch_size: 7
train:
  rate: 3e-4
  steps: 1e4
  wandb: off
"""
TINY = """\
data: {name: scenes, image_size: 24, train: 23, valid: 13, test: 11}
model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}
train: {steps: 3, batch_size: 5, evaluate_every: 2, log_every: 1, device: cpu}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """Give the lines about a recipe, its folder left out."""
    with pytest.raises(RecipeError) as caught:
        read(write(folder, text), *overrides)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]
