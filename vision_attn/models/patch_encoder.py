"""From the patches of a retina to one vector: convolutions, then a linear layer."""

import itertools
import math
from collections.abc import Sequence

from torch import nn


def patch_encoder(
    size: int, channels: int, widths: Sequence[int], dim: int, *, pool: bool = False
) -> nn.Sequential:
    """Build convolutions of 3x3, each of which halves the side, and a linear layer over the rest.

    Patches have `channels` channels, all scales together, and `size` samples a side. With `pool`
    sides are halved by the largest of 2x2, and else by strides.
    """
    layers: list[nn.Module] = []
    for before, width in itertools.pairwise([channels, *widths]):
        layers += [nn.Conv2d(before, width, 3, stride=1 if pool else 2, padding=1), nn.ReLU()]
        if pool:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    side = math.ceil(size / 2 ** len(widths))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side**2, dim))
