"""Soft readers: a window whose place and width learn through gradients, without any draw."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Images = Float[Tensor, "batch channel height width"]


class Reading(NamedTuple):
    """What was read through the window, and where that was."""

    patches: Float[Tensor, "batch channel row column"]
    window: Float[Tensor, "batch number"]
    """All that describes the window."""
    centre: Float[Tensor, "batch xy"]
    """In [-1, 1]: x right, y down."""
    extent: Float[Tensor, "batch xy"]
    """Width and height, where the image is 2 by 2."""


class FilterBank(nn.Module):
    """Read through a grid of Gaussian filters with learned centre, stride, width and strength.

    Gregor 2015, equations 19 to 27 (arXiv:1502.04623). Deviations: the centre goes through tanh,
    which keeps it in the image, and the filters begin half a stride wide, with a grid over all.
    """

    def __init__(self, dim: int, size: int):
        super().__init__()
        self.size = size
        self.window = nn.Linear(dim, 5)
        nn.init.normal_(self.window.weight, std=1e-3)
        nn.init.zeros_(self.window.bias)

    def forward(self, images: Images, state: Float[Tensor, "batch dim"]) -> Reading:
        window = self.window(state).float()
        centre, stride = window[:, :2].tanh(), window[:, 2].exp()
        filters = [
            self._filters(pixels, centre[:, axis], stride, (window[:, 3] / 2).exp())
            for axis, pixels in enumerate((images.shape[3], images.shape[2]))
        ]
        patches = filters[1].unsqueeze(1) @ images.float() @ filters[0].mT.unsqueeze(1)
        strength = window[:, 4].exp().view(-1, 1, 1, 1)
        extent = 2 * stride.unsqueeze(1).expand(-1, 2)
        return Reading(patches * strength, torch.cat([centre, window[:, 2:]], 1), centre, extent)

    def _filters(
        self, pixels: int, centre: Tensor, stride: Tensor, width: Tensor
    ) -> Float[Tensor, "batch {self.size} pixel"]:
        """Weigh the pixels of an axis for every filter; each filter's weights sum to 1."""
        step = stride * pixels / self.size
        order = torch.arange(self.size, device=centre.device) - (self.size - 1) / 2
        means = ((centre + 1) * pixels / 2).unsqueeze(1) + step.unsqueeze(1) * order
        sigma = (pixels / self.size / 2 * width)[:, None, None]
        middles = torch.arange(pixels, device=centre.device) + 0.5
        # A softmax stays finite where all pixels are far from a narrow filter.
        return (-(((middles - means.unsqueeze(2)) / sigma) ** 2) / 2).softmax(-1)


class SpatialTransformer(nn.Module):
    """Sample a square window of learned centre and scale at size x size points, bilinearly.

    Jaderberg 2015, equations 2 and 5 (arXiv:1506.02025).
    """

    def __init__(self, dim: int, size: int):
        super().__init__()
        self.size = size
        self.window = nn.Linear(dim, 3)
        nn.init.normal_(self.window.weight, std=1e-3)
        nn.init.zeros_(self.window.bias)

    def forward(self, images: Images, state: Float[Tensor, "batch dim"]) -> Reading:
        window = self.window(state).float()
        centre, scale = window[:, :2].tanh(), window[:, 2].exp()
        points = (torch.arange(self.size, device=images.device) + 0.5) * 2 / self.size - 1
        x, y = (centre[:, axis, None] + scale[:, None] * points for axis in range(2))
        shape = len(images), self.size, self.size
        places = torch.stack([x.unsqueeze(1).expand(shape), y.unsqueeze(2).expand(shape)], -1)
        patches = F.grid_sample(images.float(), places, align_corners=False)
        extent = 2 * scale.unsqueeze(1).expand(-1, 2)
        return Reading(patches, torch.cat([centre, window[:, 2:]], 1), centre, extent)
