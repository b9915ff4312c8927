"""What a format for trained networks is: how it is written, opened again and described."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from vision_attn.formats.trained import Trained

Logits: TypeAlias = Callable[[Tensor], Tensor]
"""From a batch of prepared images to logits."""
BY_NUMPY = "probabilities = 1 / (1 + np.exp(-logits))"


class Format(NamedTuple):
    """Write a trained network for another library, and open it as that library's users will."""

    write: Callable[[Trained, nn.Module], dict[str, bytes]]
    """From the facts of a network, and the network, to the contents of files by name.

    Raises ValueError for what the format cannot hold.
    """
    reopen: Callable[[Path, Trained], Logits]
    """From the folder of these files to a network in evaluation mode."""
    package: str
    """Opens the folder, if it is installed."""
    library: str
    """What the Hugging Face hub calls the library."""
    opening: Callable[[Trained], str]
    """Code that opens the folder FOLDER."""
    probabilities: str = "probabilities = network(images).sigmoid()"
    """Code that asks a network which tells several labels."""
    note: str = ""
    """What a user must know beside."""


def difference(target: Format, folder: Path, trained: Trained, model: Logits) -> float | None:
    """Compare the logits of an exported network, opened again, with those of the model.

    Gives the largest difference over the largest logit, on images of noise; None where the
    library is not installed.
    """
    if find_spec(target.package) is None:
        return None
    spec = trained.spec
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(3, spec.channels, *spec.image_size, generator=noise)
    with torch.no_grad():
        expected, found = model(images), target.reopen(folder, trained)(images)
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
