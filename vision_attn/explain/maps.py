"""From grids to images, and from raw maps to the unit interval: two steps, each by name."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vision_attn.explain.contract import Images, Maps


def image_size(images: Images) -> tuple[int, int]:
    """Tell (rows, columns) in pixels."""
    return images.shape[-2], images.shape[-1]


def upsample(grids: Float[Tensor, "batch row column"], image_size: tuple[int, int]) -> Maps:
    """Bring grids to image resolution (rows, columns in pixels) bilinearly; values stay raw.

    Between equal values lies exactly that value: a flat grid gives a flat map, whatever its size.
    """
    rows, columns = image_size
    return _stretched(_stretched(at_least_float32(grids), 2, columns), 1, rows)


def _stretched(grids: Tensor, axis: int, length: int) -> Tensor:
    """Interpolate linearly along an axis; beyond the middle of the outer cells nothing changes."""
    cells = grids.shape[axis]
    middles = torch.arange(0.5, length, device=grids.device, dtype=grids.dtype)
    places = (middles * (cells / length) - 0.5).clamp_(0, cells - 1)
    lower = places.long()
    upper = (lower + 1).clamp_(max=cells - 1)
    shares = (places - lower).unflatten(0, (-1, *[1] * (grids.ndim - 1 - axis)))
    return grids.index_select(axis, lower).lerp(grids.index_select(axis, upper), shares)


def at_least_float32(values: Tensor) -> Tensor:
    """Widen bfloat16 and float16, whose sums over many positions lose digits; keep the rest."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def normalise(maps: Maps, *, signed: bool = False, shared: bool = False) -> Maps:
    """Scale maps to [0, 1], or signed ones to [-1, 1] with 0 kept in place.

    `shared` takes one scale for all maps given, which keeps them comparable; else each map has its
    own. A constant map (for signed ones: an all-zero map) becomes zero.
    """
    axes = (0, 1, 2) if shared else (1, 2)
    if signed:
        low, span = torch.zeros_like(maps), maps.abs().amax(axes, keepdim=True)
    else:
        low = maps.amin(axes, keepdim=True)
        span = maps.amax(axes, keepdim=True) - low
    return torch.where(span > 0, (maps - low) / span, 0.0)


def is_flat(maps: Maps) -> Bool[Tensor, " batch"]:
    """Tell which maps are constant, and so point nowhere."""
    return maps.amax((1, 2)) == maps.amin((1, 2))
