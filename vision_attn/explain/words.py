"""One map for each word of a caption: where it was looked before the word was said."""

import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.maps import upsample
from vision_attn.tape import Looked

WordMaps = Float[Tensor, "word height width"]


def word_maps(caption: Looked, image_size: tuple[int, int]) -> WordMaps:
    """Give raw maps at image resolution (rows, columns in pixels).

    Looks at regions are means over heads (of a transformer: over all blocks' heads), upsampled
    bilinearly; a glimpse is 1 in the finest patch of the retina and 0 elsewhere.
    """
    if caption.weights is not None and caption.grid is not None:
        return upsample(caption.weights.mean(1).unflatten(1, caption.grid), image_size)
    if caption.centres is None or caption.extents is None:
        raise ValueError(
            "a caption must know its looks to be drawn, got neither weights nor centres"
        )
    return patches(caption.centres, caption.extents, image_size)


def patches(
    centres: Float[Tensor, "word xy"],
    extents: Float[Tensor, "word xy"],
    image_size: tuple[int, int],
) -> WordMaps:
    """Mark the pixels whose middle is in a patch; an image is 2 by 2, its middle the origin."""
    rows, columns = (2 * (torch.arange(n).to(centres) + 0.5) / n - 1 for n in image_size)
    across = (columns - centres[:, :1]).abs() <= extents[:, :1] / 2
    down = (rows - centres[:, 1:]).abs() <= extents[:, 1:] / 2
    return (down.unsqueeze(2) & across.unsqueeze(1)).to(centres)


def points(caption: Looked) -> Float[Tensor, "word xy"]:
    """Give the middle of the region that was taken, or has most weight, or of the glimpse.

    In [-1, 1]; of regions that several heads took, their mean.
    """
    if caption.weights is None or caption.grid is None:
        if caption.centres is None:
            raise ValueError("a caption must know its looks, got neither weights nor centres")
        return caption.centres
    if caption.places is not None:
        return middles(caption.places, caption.grid).mean(1)
    return middles(caption.weights.mean(1).argmax(1), caption.grid)


def middles(regions: Tensor, grid: tuple[int, int]) -> Float[Tensor, "word xy"]:
    """Give the middle of regions by number, in [-1, 1]."""
    rows, columns = grid
    places = torch.stack([regions % columns, regions // columns], -1)
    return (2 * places + 1) / torch.tensor([columns, rows], device=regions.device) - 1
