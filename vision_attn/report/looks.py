"""What every patch attends to, small enough to put on a page."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images
from vision_attn.explain.frozen import explained
from vision_attn.explain.looks import look, token_grid, weights_of
from vision_attn.explain.maps import at_least_float32, image_size
from vision_attn.explain.rollout import fused, roll
from vision_attn.tape import Attended

LEVELS = 31
"""Steps that a share is rounded to; even in its square root, so that small ones survive."""

BUDGET = 176_000
"""Bytes an image: fifty make a page of less than 10 MB."""
SHAPES = ("grid", "patches")
"""What is the same for all images of a record."""
SINKS = 4
"""Patches that are counted together when it is told how far looks gather on few."""
RESIDUAL = 0.5
"""Weight of the skip connection, as in `rollout`."""


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
        last = at_least_float32(layers[-1].query)
        places = token_grid(model, last.shape[2], size, last.device)
        patches = places.shape[0], places.shape[1]
        grid = grouped(patches, len(layers) * last.shape[1], budget)
        member = membership(patches, grid).to(last)
        keys = member.new_zeros(len(member), last.shape[2]).index_copy(1, places.flatten(), member)
        queries = keys / keys.sum(1, keepdim=True)
        # Grouped a layer at a time: the weights of all layers over many tokens are gigabytes.
        shares = torch.stack([queries @ weights_of(record) @ keys.T for record in layers], 1)
        backwards = (fused(record, "mean") for record in reversed(layers))
        rows = roll(queries.expand(len(images), -1, -1), backwards, RESIDUAL)
        sinks = _gathering(layers[-1], places)
    return Looks(grid, patches, *_coded(shares), *_coded(rows @ keys.T), sinks.float().cpu())


def _gathering(record: Attended, places: Int[Tensor, "row column"]) -> Float[Tensor, " batch"]:
    patches = places.flatten()
    looked_at = weights_of(record)[:, :, patches].mean((1, 2))[:, patches]
    return looked_at.topk(min(SINKS, len(patches))).values.sum(1) / looked_at.sum(1)


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
    shares: Float[Tensor, "*batch query key"],
) -> tuple[UInt8[Tensor, "*batch query key"], Float[Tensor, "*batch query"]]:
    tiny = torch.finfo(shares.dtype).tiny
    levels = ((shares / shares.amax(-1, keepdim=True).clamp_min(tiny)).sqrt() * LEVELS).round()
    scales = shares.sum(-1) / (levels / LEVELS).square().sum(-1).clamp_min(tiny)
    return levels.byte().cpu(), scales.float().cpu()
