"""A recipe that is right, and the lines about one that is not."""

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


def write(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """Give the lines about a recipe, its folder left out."""
    with pytest.raises(RecipeError) as caught:
        read(write(folder, text), *overrides)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]
