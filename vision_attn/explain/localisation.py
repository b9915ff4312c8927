"""Whether a map points at the object: scores of maps against masks, and maps that know nothing.

All scores are in [0, 1], one an image. A map whose pixels are all equal scores what chance scores.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vision_attn.explain.contract import Maps

Masks: TypeAlias = Bool[Tensor, "batch height width"]
Localisation: TypeAlias = Callable[[Maps, Masks], Float[Tensor, " batch"]]


def pointing_game(maps: Maps, masks: Masks, *, tolerance: float = 0.0) -> Float[Tensor, " batch"]:
    """Tell whether the map's highest pixel lies in the mask, or at most `tolerance` pixels off.

    Where several pixels are highest, the score is the share of them that hit.

    Zhang 2018, section 4.1 (arXiv:1608.00507), who tolerate 15 pixels.
    """
    _check(maps, masks)
    highest = maps == maps.amax((1, 2), keepdim=True)
    hits = (highest & grow(masks, tolerance)).sum((1, 2))
    return hits / highest.sum((1, 2))


def energy_in_mask(maps: Maps, masks: Masks) -> Float[Tensor, " batch"]:
    """Measure which share of the map's positive values lies in the mask.

    A map without positive values scores the mask's share of the image.

    Wang 2020, equation 6 (arXiv:1910.01279).
    """
    _check(maps, masks)
    energy = maps.double().clamp_min(0)
    total = energy.sum((1, 2))
    share = masks.double().mean((1, 2))
    return torch.where(total > 0, (energy * masks).sum((1, 2)) / total, share).to(maps.dtype)


def mask_iou(maps: Maps, masks: Masks) -> Float[Tensor, " batch"]:
    """Measure intersection over union of mask and map, cut at each image's best threshold."""
    inside, chosen, total = _by_threshold(maps, masks)
    return (inside / (chosen + total - inside)).amax(1).to(maps.dtype)


def average_precision(maps: Maps, masks: Masks) -> Float[Tensor, " batch"]:
    """Average the precision of the map's pixels as detections of mask pixels over all recalls.

    A tie is one threshold, as in scikit-learn's `average_precision_score`.
    """
    inside, chosen, total = _by_threshold(maps, masks)
    gained = inside.diff(dim=1, prepend=torch.zeros_like(inside[:, :1]))
    return (gained / total * inside / chosen).sum(1).to(maps.dtype)


def box_masks(boxes: Float[Tensor, "batch xyxy"], image_size: tuple[int, int]) -> Masks:
    """Draw boxes (left, top, right, bottom in pixels, right and bottom exclusive) as masks.

    A pixel belongs to the box if its centre does.
    """
    rows = torch.arange(image_size[0], device=boxes.device)[:, None] + 0.5
    columns = torch.arange(image_size[1], device=boxes.device) + 0.5
    left, top, right, bottom = (edge[:, None, None] for edge in boxes.unbind(1))
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def grow(masks: Masks, pixels: float) -> Masks:
    """Add to each mask all pixels at most so many pixels from it."""
    if pixels < 0:
        raise ValueError(f"tolerance must be 0 or more pixels, got {pixels}")
    radius = int(pixels)
    if not radius:
        return masks
    offsets = torch.arange(-radius, radius + 1, device=masks.device)
    disc = (offsets[:, None] ** 2 + offsets**2 <= pixels**2).float()
    reached = F.conv2d(masks[:, None].float(), disc[None, None], padding=radius)
    return reached[:, 0] > 0.5


LOCALISATION: dict[str, Localisation] = {
    "pointing_game": pointing_game,
    "energy_in_mask": energy_in_mask,
    "mask_iou": mask_iou,
    "average_precision": average_precision,
}


def _check(maps: Maps, masks: Masks) -> None:
    if maps.shape != masks.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"masks must be boolean and of the maps' shape {tuple(maps.shape)}, got "
            f"{masks.dtype} of shape {tuple(masks.shape)}"
        )
    empty = (~masks.flatten(1).any(1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(
            f"masks must not be empty, got none set for images {empty}; leave them out"
        )


def _by_threshold(maps: Maps, masks: Masks) -> tuple[Tensor, Tensor, Tensor]:
    """Count, for a cut below each pixel's value, pixels chosen in the mask, chosen, and in it."""
    _check(maps, masks)
    values, order = maps.flatten(1).sort(dim=1, descending=True)
    inside = masks.flatten(1).gather(1, order).double().cumsum(1)
    chosen = torch.arange(1, values.shape[1] + 1, device=maps.device).expand_as(inside).double()
    # Equal values fall together: all but the last pixel of a tie take the counts of the last.
    last = values != F.pad(values[:, 1:], (0, 1), value=-torch.inf)
    position = torch.where(last, chosen.long() - 1, values.shape[1] - 1)
    end = position.flip(1).cummin(1).values.flip(1)
    return inside.gather(1, end), chosen.gather(1, end), inside[:, -1:]
