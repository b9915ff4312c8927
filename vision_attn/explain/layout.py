"""From a layer's output to an image of features; what does not fit the image raises."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.places import Size


def lay_tokens(
    tokens: Float[Tensor, "batch token dim"], prefix: int, grid: Size | None, size: Size
) -> Float[Tensor, "batch channel row column"]:
    """Lay tokens out row by row; `prefix` tokens before the patches, if they are there, go.

    Without a `grid` it is the one that some stride makes of an image of `size`. Raises ValueError
    where no grid fits, or several do.
    """
    count = tokens.shape[1]
    # As many tokens as a prefix has are the prefix: they would pass for a grid of few patches.
    if count <= prefix and grid is None:
        raise ValueError(
            f"tokens must be more than the prefix, got {count} tokens and {prefix} of the prefix; "
            f"choose another cam_layer"
        )
    grids = [grid] if grid else possible_grids({count, count - prefix}, size)
    if len(grids) != 1 or count - math.prod(grids[0]) not in (0, prefix):
        raise ValueError(
            f"tokens, of which {prefix} may come before the patches, must fill one grid on "
            f"{size[0]}x{size[1]} pixels, got {count} tokens for the grids {grids}; choose another "
            f"cam_layer"
        )
    rows, columns = grids[0]
    return tokens[:, count - rows * columns :].mT.unflatten(2, (rows, columns))


def possible_grids(counts: set[int], size: Size) -> list[Size]:
    """List the grids of so many patches that a whole stride makes of the image."""
    grids = set()
    for stride in range(1, max(size) + 1):
        for rounded in (math.floor, math.ceil):
            grid = rounded(size[0] / stride), rounded(size[1] / stride)
            if math.prod(grid) in counts:
                grids.add(grid)
    return sorted(grids)


def lay_map(
    activation: Tensor, size: Size, channels_last: bool
) -> Float[Tensor, "batch channel row column"]:
    """Put channels first; either reading must be as wide for its height as the image."""
    readings = [activation, activation.permute(0, 3, 1, 2)]
    for reading in reversed(readings) if channels_last else readings:
        if fits(reading.shape[2:], size):
            return reading
    raise ValueError(
        f"a feature map must have the proportions of the image, {size[0]}x{size[1]} pixels, got "
        f"shape {tuple(activation.shape)}; choose another cam_layer"
    )


def fits(shape: torch.Size, size: Size) -> bool:
    """Tell whether one stride takes both sides of the image to this shape, but for its edges."""
    edge = 2  # rows that convolutions without padding lose, or padding adds
    least = max(side / (count + edge) for side, count in zip(size, shape, strict=True))
    most = min(side / max(count - edge, 1e-9) for side, count in zip(size, shape, strict=True))
    return least <= most
