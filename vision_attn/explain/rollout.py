"""Attention followed through all layers: rollout, plain or weighted by gradients' sign and size."""

from collections.abc import Iterable
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.fusing import Fusing, Square
from vision_attn.explain.looks import (
    Query,
    look,
    look_from,
    row_map,
    starting_row,
    token_grid,
    weights_in_pieces,
    weights_of,
)
from vision_attn.explain.maps import at_least_float32, image_size
from vision_attn.explain.targets import check
from vision_attn.tape import Attended

Fusion: TypeAlias = Literal["mean", "max", "min"]


def rollout(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    fusion: Fusion = "mean",
    discard: float = 0.0,
    residual: float = 0.5,
    start_layer: int = 0,
    query: Query = None,
) -> Maps:
    """Follow the look of the head (or of `query`) back through all layers; class-agnostic.

    Heads are fused by `fusion`; of each image's fused weights the smallest share `discard` in
    [0, 1) is dropped, except looks at prefix tokens; `residual` in [0, 1) is the weight of the skip
    connection; layers before `start_layer` are left out. A row sums to 1 over all tokens.

    Abnar, Zuidema 2020, equation 1 (arXiv:2005.00928).
    """
    check(model, images, targets)
    size = image_size(images)
    fusing = Fusing(partial(fuse, fusion=fusion))
    with explained(model), torch.no_grad(), fusing:
        looks = look(model, images, "rollout", targets)
        reading = fuse(weights_of(looks.reading), fusion)[:, 0] if looks.reading else None
        row = starting_row(model, looks, size, query, reading)
        row = row / row.sum(-1, keepdim=True)
        records = back_from_last(looks.layers, start_layer)
        if fusion == "mean" and not discard:
            return row_map(model, roll_mean(row, records, fusing, residual), size)
        patches = patch_tokens(model, row, size)
        layers = (drop(fused(record, fusion, fusing), discard, patches) for record in records)
        return row_map(model, roll(row[:, None], layers, residual)[:, 0], size)


def patch_rollout(
    model: Explainable, images: Images, *, fusion: Fusion = "mean", residual: float = 0.5
) -> Float[Tensor, "batch patch row column"]:
    """Give the rollout of every patch, row by row, on the grid of patches."""
    size = image_size(images)
    fusing = Fusing(partial(fuse, fusion=fusion))
    with explained(model), torch.no_grad(), fusing:
        looks = look(model, images, "rollout")
        tokens, like = looks.layers[-1].key.shape[2], looks.layers[-1].query
        patches = token_grid(model, tokens, size, like.device).flatten()
        rows = torch.eye(tokens, device=like.device)[patches].expand(len(images), -1, -1)
        layers = (fused(record, fusion, fusing) for record in reversed(looks.layers))
        rows = roll(at_least_float32(rows.to(like)), layers, residual)
        grids = model.to_map(rows.flatten(0, 1).unsqueeze(-1), size)[:, 0]
        return grids.unflatten(0, rows.shape[:2])


def roll(
    rows: Float[Tensor, "batch query token"], layers: Iterable[Square], residual: float
) -> Float[Tensor, "batch query token"]:
    """Multiply rows by every layer, last first; a layer's rows with skip connection sum to 1.

    Row vectors from the back cost tokens² a layer, where the product of matrices costs tokens³.
    """
    check_residual(residual)
    for layer in layers:
        total = (1 - residual) * layer.sum(-1) + residual
        scaled = rows / total.clamp_min(torch.finfo(total.dtype).tiny)[:, None]
        rows = (1 - residual) * (scaled @ layer) + residual * scaled
    return rows


def roll_mean(
    row: Float[Tensor, "batch token"],
    records: Iterable[Attended],
    fusing: Fusing,
    residual: float,
) -> Float[Tensor, "batch token"]:
    """Do what `roll` does for one row and the mean over heads, whose rows sum to 1 already."""
    check_residual(residual)
    for record in records:
        # The product with a mean needs no matrix of it, and at first few tokens are in the row.
        layer = fusing.kept(record) if row.all() else None
        seen = look_from(row, record).mean(1) if layer is None else (row[:, None] @ layer)[:, 0]
        row = (1 - residual) * seen + residual * row
    return row


def fused(record: Attended, fusion: Fusion, fusing: Fusing | None = None) -> Square:
    """Make one matrix of all heads of a record, unless `fusing` kept it."""
    if fusing is not None and (kept := fusing.kept(record)) is not None:
        return kept
    return torch.cat([fuse(weights, fusion) for _, weights in weights_in_pieces(record)])


def fuse(
    weights: Float[Tensor, "batch head query key"], fusion: Fusion
) -> Float[Tensor, "batch query key"]:
    """Make one matrix of all heads."""
    if fusion == "mean":
        return weights.mean(1)
    if fusion == "max":
        return weights.amax(1)
    if fusion == "min":
        return weights.amin(1)
    raise ValueError(f"fusion must be mean, max or min, got {fusion}")


def drop(layer: Square, discard: float, patches: Bool[Tensor, " token"]) -> Square:
    """Set each image's smallest weights to 0, but never a look at a prefix token; ties stay."""
    if not 0 <= discard < 1:
        raise ValueError(f"discard must be in [0, 1), got {discard}")
    dropped = int(discard * layer[0].numel())
    if not dropped:
        return layer
    smallest_kept = _in_order(layer.flatten(1), dropped)[:, None, None]
    return layer.masked_fill((layer < smallest_kept) & patches, 0)


def _in_order(values: Float[Tensor, "batch number"], place: int) -> Float[Tensor, " batch"]:
    if values.device.type == "cpu":  # numpy's selection takes a fifth of the time of torch's
        return torch.from_numpy(np.partition(values.detach().numpy(), place, axis=1)[:, place])
    return values.kthvalue(place + 1).values


def check_residual(residual: float) -> None:
    """Raise ValueError unless the weight of the skip connection leaves some to attention."""
    if not 0 <= residual < 1:
        raise ValueError(f"residual must be in [0, 1), got {residual}")


def patch_tokens(
    model: Explainable, row: Float[Tensor, "batch token"], size: tuple[int, int]
) -> Bool[Tensor, " token"]:
    """Tell which tokens have a place in the image."""
    grid = token_grid(model, row.shape[1], size, row.device)
    return torch.zeros(row.shape[1], dtype=torch.bool, device=row.device).scatter(
        0, grid.flatten(), True
    )


def back_from_last(layers: list[Attended], start_layer: int) -> Iterable[Attended]:
    """Go from the last layer to `start_layer`."""
    if not 0 <= start_layer < len(layers):
        raise ValueError(f"start_layer must be in [0, {len(layers)}), got {start_layer}")
    return reversed(layers[start_layer:])
