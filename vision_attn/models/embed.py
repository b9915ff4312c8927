"""From an image to tokens that know their place."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Grid = tuple[int, int]
"""Patches in (rows, columns)."""


class Tokenizer(nn.Module):
    """Map every square of `patch_size` pixels to a token by a network `proj`."""

    def __init__(self, patch_size: int, proj: nn.Module):
        super().__init__()
        self.patch_size = patch_size
        self.proj = proj

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
        return self.proj(images).flatten(2).transpose(1, 2)

    def grid(self, image_size: Sequence[int]) -> Grid:
        """Tell the grid of an image of (rows, columns) pixels; ValueError if patches do not fit."""
        height, width = image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"patch_size must divide both sides of the image, got {height}x{width} pixels and "
                f"patch_size={self.patch_size}; resize the images or choose another patch_size"
            )
        return height // self.patch_size, width // self.patch_size


class PatchEmbed(Tokenizer):
    """Cut the image into squares and map each linearly to a token.

    Dosovitskiy 2021, equation 1 (arXiv:2010.11929).
    """

    def __init__(self, patch_size: int, channels: int, dim: int):
        super().__init__(patch_size, nn.Conv2d(channels, dim, patch_size, stride=patch_size))


class ConvTokenizer(Tokenizer):
    """Make tokens by convolution, max-pooling and ReLU, repeated until a token covers a patch.

    Each layer shrinks the image by a prime factor of `patch_size`, the largest first; widths
    double towards `dim`. Hassani 2021, section 3.2 (arXiv:2104.05704).
    """

    def __init__(self, patch_size: int, channels: int, dim: int):
        factors = prime_factors(patch_size)
        widths = [channels, *(max(dim >> i, 8) for i in range(len(factors) - 1, 0, -1)), dim]
        layers: list[nn.Module] = []
        for before, width, factor in zip(widths, widths[1:], factors, strict=False):
            kernel = factor | 1  # odd, so that the pool is centred and sizes divide exactly
            convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight)
            # The paper has ReLU first; the two commute, and here ReLU sees fewer positions.
            pool = nn.MaxPool2d(kernel, stride=factor, padding=kernel // 2)
            layers += [convolution, pool, nn.ReLU()]
        super().__init__(patch_size, nn.Sequential(*layers))


def prime_factors(number: int) -> list[int]:
    """Factorise, the largest prime first."""
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors[::-1]


def resize_positions(
    positions: Float[Tensor, "1 token dim"], old: Grid, new: Grid, prefix: int
) -> Float[Tensor, "1 token2 dim"]:
    """Resample a learned table to another grid (bicubic, anti-aliased); prefix rows stay.

    Dosovitskiy 2021, section 3.2 (arXiv:2010.11929). Raises ValueError if the table does not
    have the rows that `old` and `prefix` promise.
    """
    if positions.shape[1] != prefix + math.prod(old):
        raise ValueError(
            f"positions need prefix + rows x columns entries, got {positions.shape[1]} entries, "
            f"prefix={prefix} and grid {old[0]}x{old[1]}"
        )
    if old == new:
        return positions
    table = positions[:, prefix:].float().unflatten(1, old).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=new, mode="bicubic", antialias=True, align_corners=False)
    table = table.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :prefix], table], dim=1)


def resize_patches(
    kernel: Float[Tensor, "dim channel row column"], size: tuple[int, int]
) -> Float[Tensor, "dim channel row2 column2"]:
    """Resample the linear map of patches to patches of another size, in pixels.

    What it gave for a patch it gives for that patch enlarged (bilinear); of a patch made smaller,
    it keeps what least squares can. Beyer 2023, equations 2 to 5 (FlexiViT, arXiv:2212.08013).
    """
    old = (kernel.shape[2], kernel.shape[3])
    basis = torch.eye(math.prod(old), dtype=torch.float64).unflatten(1, old).unsqueeze(1)
    # Row i holds the enlarged i-th pixel: the transpose of B, the matrix that enlarges a patch.
    enlarged = F.interpolate(basis, size=size, mode="bilinear", align_corners=False).flatten(1)
    inverse = torch.linalg.pinv(enlarged)
    resized = kernel.double().flatten(2) @ inverse.mT
    return resized.unflatten(2, size).to(kernel.dtype)


def sincos_positions(grid: Grid, dim: int) -> Float[Tensor, "1 token dim"]:
    """Compute fixed positions: a quarter of the width each for sin x, cos x, sin y and cos y.

    Chen 2021, section 4.1 (MoCo v3, arXiv:2104.02057); temperature 10,000.
    """
    rows, columns = grid
    frequencies = 10_000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    across = torch.arange(columns).repeat(rows)[:, None] * frequencies
    down = torch.arange(rows).repeat_interleave(columns)[:, None] * frequencies
    table = torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=1)
    return table[None].float()


def axial_rotation(
    grid: Grid, head_dim: int, prefix: int
) -> tuple[Float[Tensor, "token head_dim"], Float[Tensor, "token head_dim"]]:
    """Compute cosines and sines that turn half of a head by the row, half by the column.

    Prefix tokens come first and are not turned. Angles are in radians a patch with frequencies
    100^(-i/n) as in Heo 2024, section 3.1 (RoPE-Axial, arXiv:2403.13298).
    """
    rows, columns = grid
    frequencies = 100.0 ** -(torch.arange(head_dim // 4, dtype=torch.float64) / (head_dim // 4))
    across = torch.arange(columns).repeat(rows)[:, None] * frequencies
    down = torch.arange(rows).repeat_interleave(columns)[:, None] * frequencies
    angles = torch.cat([across, down], dim=1)
    angles = F.pad(angles.repeat(1, 2), (0, 0, prefix, 0))
    return angles.cos().float(), angles.sin().float()
