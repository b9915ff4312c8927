"""What every patch attends to, small enough to put on a page."""

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


class Looks(NamedTuple):
    """From each group of patches to each: in every layer and head, and by rollout through all.

    A share is `scale * (level / LEVELS)²`, a scale for each query, so that sums over the keys are
    exact (1, less what prefix tokens get). Groups go row by row.
    """

    grid: tuple[int, int]
    """Rows and columns of groups; as many as patches where the budget allows."""
    levels: UInt8[Tensor, "batch layer head query key"]
    scales: Float[Tensor, "batch layer head query"]
    rollout_levels: UInt8[Tensor, "batch query key"]
    rollout_scales: Float[Tensor, "batch query"]


def looks(model: Explainable, images: Images, *, budget: int = 176_000) -> Looks:
    """Record who looks at whom; patches are grouped until an image takes at most `budget` bytes.

    A group looks like the average of its patches, and is looked at like their sum. Raises
    ValueError for a network without attention over one set of tokens.
    """
    size = image_size(images)
    with explained(model), torch.no_grad():
        layers = look(model, images, "attention").layers
        weights = torch.stack([weights_of(record) for record in layers], 1)
        patches = token_grid(model, weights.shape[-1], size, weights.device)
        order = patches.flatten()
        weights = weights[..., order, :][..., order]
    rows = patch_rollout(model, images).flatten(2)
    grid = grouped(tuple(patches.shape), weights[0, :, :, 0, 0].numel(), budget)
    member = membership(tuple(patches.shape), grid).to(weights)
    return Looks(grid, *_coded(member, weights), *_coded(member, rows.to(weights)))


def grouped(patches: tuple[int, ...], maps: int, budget: int) -> tuple[int, int]:
    """Find the finest grid whose `maps` tables of who looks at whom fit the budget in bytes."""
    rows, columns = patches
    for side in range(max(patches), 0, -1):
        scale = side / max(patches)
        grid = max(round(rows * scale), 1), max(round(columns * scale), 1)
        if maps * (grid[0] * grid[1]) ** 2 <= budget:
            return grid
    raise ValueError(f"{maps} heads in all do not fit {budget} bytes an image; raise the budget")


def membership(patches: tuple[int, ...], grid: tuple[int, int]) -> Float[Tensor, "group patch"]:
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
