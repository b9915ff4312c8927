"""The retina: patches of several scales around a place, the wider the coarser."""

import math
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Centres: TypeAlias = Float[Tensor, "batch place xy"]
Patches: TypeAlias = Float[Tensor, "batch place channel row column"]


def retina(
    images: Float[Tensor, "batch channel height width"],
    centres: Float[Tensor, "batch xy"],
    *,
    size: int,
    scales: int,
    growth: float = 2.0,
) -> Float[Tensor, "batch scale*channel {size} {size}"]:
    """Look at a place of every image: patches of `size`, `size` * growth, ... pixels a side.

    Centres are in [-1, 1] from edge to edge, x right, y down. Every patch is averaged over areas to
    `size` x `size`, zero outside the image; finest first, each with all channels. Differentiable in
    images and centres.

    Mnih 2014, section 3.1 (arXiv:1406.6247).
    """
    return Retina(images, size=size, scales=scales, growth=growth)(centres)


class Retina:
    """Images made ready for any number of glimpses; calling it with centres is `retina`."""

    def __init__(
        self,
        images: Float[Tensor, "batch channel height width"],
        *,
        size: int,
        scales: int,
        growth: float = 2.0,
    ):
        if size < 1 or scales < 1 or growth < 1:
            raise ValueError(
                f"size and scales must be 1 or more and growth at least 1, got size={size}, "
                f"scales={scales} and growth={growth}"
            )
        # Sums over areas need more digits than bfloat16 and float16 have.
        self.images = images.to(torch.promote_types(images.dtype, torch.float32))
        self.size, self.cells = size, [growth**scale for scale in range(scales)]
        self.middles = self._tensor([cell - (size - 1) / 2 for cell in range(size)])
        if scales > 1:
            edges = [[cell * (x - size / 2) for x in range(size + 1)] for cell in self.cells[1:]]
            self.edges = self._tensor(edges)
            self.pixels = self._tensor(self.cells[1:])[:, None, None].square()
            # Sums around the mean stay small, and so their differences keep their digits.
            self.mean = self.images.mean((-2, -1), keepdim=True)
            self.sums = F.pad((self.images - self.mean).cumsum(-1).cumsum(-2), (1, 0, 1, 0))

    def __call__(
        self, centres: Float[Tensor, "batch *place xy"]
    ) -> Float[Tensor, "batch *place scale*channel {size} {size}"]:
        """Look at a place of every image, or at several."""
        places = math.prod(centres.shape[1:-1])
        each = centres.to(self.images).reshape(len(centres), places, 2)
        fine = self._fine(each)
        seen = fine if len(self.cells) == 1 else torch.cat([fine, self._coarse(each)], 2)
        return seen.reshape(*centres.shape[:-1], *seen.shape[2:])

    def _fine(self, centres: Centres) -> Patches:
        """Average over cells of one pixel, which is to interpolate bilinearly between pixels."""
        x, y = self._around(centres, self.middles)
        shape = *x.shape, self.size
        places = torch.stack([x.unsqueeze(2).expand(shape), y.unsqueeze(3).expand(shape)], -1)
        sampled = F.grid_sample(
            self.images, places.flatten(1, 2), padding_mode="zeros", align_corners=False
        )
        return sampled.unflatten(2, shape[1:3]).transpose(1, 2)

    def _coarse(self, centres: Centres) -> Patches:
        """Average over larger cells.

        What lies in a rectangle is a difference of sums at its corners, and between corners of
        pixels the sums are bilinear: so a single sampling averages exactly, at all scales alike.
        Summed-area tables: Crow 1984, Computer Graphics 18.
        """
        height, width = self.images.shape[-2:]
        x, y = (edge.clamp(-1, 1) for edge in self._around(centres, self.edges))
        shape = (*x.shape, self.size + 1)
        corners = torch.stack([x.unsqueeze(3).expand(shape), y.unsqueeze(4).expand(shape)], -1)
        sampled = F.grid_sample(
            self.sums, corners.flatten(1, 3), padding_mode="border", align_corners=True
        )
        sampled = sampled.unflatten(2, shape[1:4])
        # The mean comes back, on the part of a cell that is inside the image.
        inside = _between(y, -1).unsqueeze(-1) * _between(x, -1).unsqueeze(-2)
        means = self.mean[..., None, None] * (height * width / 4) * inside.unsqueeze(1)
        totals = _between(_between(sampled, -1), -2) + means
        return (totals / self.pixels).permute(0, 2, 3, 1, 4, 5).flatten(2, 3)

    def _around(self, centres: Centres, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Add offsets in pixels to the x and to the y of every centre."""
        height, width = self.images.shape[-2:]
        x, y = centres[(..., *[None] * offsets.ndim)].unbind(2)
        return (
            torch.add(x, offsets, alpha=2 / width),
            torch.add(y, offsets, alpha=2 / height),
        )

    def _tensor(self, numbers: list) -> Tensor:
        return torch.tensor(numbers, dtype=self.images.dtype, device=self.images.device)


def _between(values: Tensor, dim: int) -> Tensor:
    """Subtract from each entry the one before it; leaner than `Tensor.diff`."""
    count = values.shape[dim] - 1
    return values.narrow(dim, 1, count) - values.narrow(dim, 0, count)
