"""From float images and maps to pictures; every step in float, bytes only at the very end."""

from typing import TypeAlias

import matplotlib
import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter
from torch import Tensor

from vision_attn.explain.contract import Images, Maps
from vision_attn.explain.maps import normalise
from vision_attn.spec import Spec

Picture: TypeAlias = Float[np.ndarray, "height width rgb"]
"""Colours in [0, 1]."""
Pictures: TypeAlias = Float[np.ndarray, "batch height width rgb"]

UNSIGNED, SIGNED = "inferno", "RdBu_r"
"""Colour maps: perceptually uniform; for maps with negative values diverging, white at zero."""


def pictures(images: Images, spec: Spec) -> Pictures:
    """Undo the normalisation of images and clip to [0, 1]; one channel becomes grey."""
    mean, std = (images.new_tensor(x).view(1, -1, 1, 1) for x in (spec.mean, spec.std))
    colours = (images * std + mean).clamp(0, 1).detach().float().cpu()
    if colours.shape[1] == 1:
        colours = colours.expand(-1, 3, -1, -1)
    return colours.permute(0, 2, 3, 1).numpy()


def stretched(maps: Maps, signed: bool) -> Float[np.ndarray, "batch height width"]:
    """Bring every map to [0, 1] for drawing: from its lowest to its highest value.

    Signed maps keep zero in the middle, at 0.5. Maps without contrast become 0 (signed: 0.5).
    Raises ValueError on values that are not finite.
    """
    if not maps.isfinite().all():
        raise ValueError("a map must be finite to be drawn, got NaN or infinite values")
    scaled = normalise(maps.detach().float().cpu(), signed=signed)
    return ((1 + scaled) / 2 if signed else scaled).numpy()


def overlay(
    picture: Picture,
    stretch: Float[np.ndarray, "height width"],
    signed: bool,
    opacity: float = 0.65,
) -> Picture:
    """Lay a stretched map in colour over a grey copy of the picture."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    colours = matplotlib.colormaps[SIGNED if signed else UNSIGNED](stretch)[..., :3]
    return (1 - opacity) * grey[..., None] + opacity * colours


def lit(
    picture: Picture, level: Float[np.ndarray, "height width"], opacity: float = 0.65
) -> Picture:
    """Lay a map in [0, 1] in colour over a grey copy, the more opaque the higher it is.

    Where it is low the picture stays to be seen, as a narrow look needs it.
    """
    grey = picture @ np.array([0.299, 0.587, 0.114])
    share = opacity * np.sqrt(level)[..., None]
    return (1 - share) * grey[..., None] + share * matplotlib.colormaps[UNSIGNED](level)[..., :3]


def rims(mask: Bool[Tensor, "height width"]) -> list[Float[np.ndarray, "point xy"]]:
    """Trace the borders of a mask in pixels, the image's corner at (-0.5, -0.5); none if empty."""
    # Padded, so that a rim at the image's edge is closed; smoothed, so that it is no staircase.
    soft = gaussian_filter(np.pad(mask.cpu().numpy().astype(float), 1), 0.8)
    return [np.asarray(line) - 1 for line in contour_generator(z=soft).lines(0.5)]


def to_bytes(picture: Picture) -> UInt8[np.ndarray, "height width rgb"]:
    """Round colours to 0..255."""
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)
