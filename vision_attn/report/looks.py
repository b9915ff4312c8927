"""What every patch attends to, small enough to put on a page."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vision_attn.explain.attention import look, token_grid, weights_of
from vision_attn.explain.contract import Explainable, Images
from vision_attn.explain.frozen import explained
from vision_attn.explain.maps import image_size
from vision_attn.explain.rollout import patch_rollout

LEVELS = 31
"""Steps that a share is rounded to; even in its square root, so that small ones survive."""

BUDGET = 176_000
"""Bytes an image: fifty make a page of less than 10 MB."""
SHAPES = ("grid", "patches")
"""What is the same for all images of a record."""
SINKS = 4
"""Patches that are counted together when it is told how far looks gather on few."""


class Looks(NamedTuple):
    """From each group of patches to each: in every layer and head, and by rollout through all.

    A share is `scale * (level / LEVELS)²`, a scale for each query, so that sums over the keys are
    exact (1, less what prefix tokens get). Groups go row by row.
    """

    grid: tuple[int, int]
    """Rows and columns of groups; as many as patches where the budget allows."""
    patches: tuple[int, int]
    levels: UInt8[Tensor, "batch layer head query key"]
    scales: Float[Tensor, "batch layer head query"]
    rollout_levels: UInt8[Tensor, "batch query key"]
    rollout_scales: Float[Tensor, "batch query"]
    sinks: Float[Tensor, " batch"]
    """Share of the last layer's looks at patches that the `SINKS` most looked at get."""

    def parts(self) -> dict[str, Tensor]:
        """Give all that is there for each image."""
        return {name: part for name, part in self._asdict().items() if isinstance(part, Tensor)}


def joined(batches: Sequence[Looks]) -> Looks:
    """Put the looks of several batches together."""
    parts = zip(*(looks.parts().values() for looks in batches), strict=True)
    return Looks(batches[0].grid, batches[0].patches, *(torch.cat(part) for part in parts))


def looks(model: Explainable, images: Images, *, budget: int = BUDGET) -> Looks:
    """Record who looks at whom; patches are grouped until an image takes at most `budget` bytes.

    A group looks like the average of its patches, and is looked at like their sum. Raises
    ValueError for a network without attention over one set of tokens.
    """
    size = image_size(images)
    with explained(model), torch.no_grad():
        layers = look(model, images, "attention").layers
        weights = torch.stack([weights_of(record) for record in layers], 1)
        places = token_grid(model, weights.shape[-1], size, weights.device)
        weights = weights[..., places.flatten(), :][..., places.flatten()]
    rows = patch_rollout(model, images).flatten(2)
    patches = places.shape[0], places.shape[1]
    grid = grouped(patches, weights[0, :, :, 0, 0].numel(), budget)
    member = membership(patches, grid).to(weights)
    looked_at = weights[:, -1].mean((1, 2))
    sinks = looked_at.topk(min(SINKS, looked_at.shape[1])).values.sum(1) / looked_at.sum(1)
    coded = _coded(member, weights), _coded(member, rows.to(weights))
    return Looks(grid, patches, *coded[0], *coded[1], sinks.float().cpu())


def grouped(patches: tuple[int, int], maps: int, budget: int) -> tuple[int, int]:
    """Find the finest grid whose `maps` tables of who looks at whom fit the budget in bytes."""
    rows, columns = patches
    for side in range(max(patches), 0, -1):
        scale = side / max(patches)
        grid = max(round(rows * scale), 1), max(round(columns * scale), 1)
        if maps * (grid[0] * grid[1]) ** 2 <= budget:
            return grid
    raise ValueError(f"{maps} heads in all do not fit {budget} bytes an image; raise the budget")


def membership(patches: tuple[int, int], grid: tuple[int, int]) -> Float[Tensor, "group patch"]:
    """Say with 1 which patch belongs to which group, as even as whole patches allow."""
    rows, columns = (
        torch.arange(count) * groups // count for count, groups in zip(patches, grid, strict=True)
    )
    group = (rows[:, None] * grid[1] + columns).flatten()
    return F.one_hot(group, grid[0] * grid[1]).T.float()


def _coded(
    member: Float[Tensor, "group patch"], weights: Float[Tensor, "*batch query key"]
) -> tuple[UInt8[Tensor, "*batch group other"], Float[Tensor, "*batch group"]]:
    means = member / member.sum(1, keepdim=True)
    shares = means @ weights @ member.T
    tiny = torch.finfo(shares.dtype).tiny
    levels = ((shares / shares.amax(-1, keepdim=True).clamp_min(tiny)).sqrt() * LEVELS).round()
    scales = shares.sum(-1) / (levels / LEVELS).square().sum(-1).clamp_min(tiny)
    return levels.byte().cpu(), scales.float().cpu()
