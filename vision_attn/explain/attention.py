"""What attention itself shows: who looks where, in any layer and head."""

import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.looks import (
    Looks,
    Query,
    look,
    look_from,
    row_map,
    starting_row,
    token_grid,
    weights_of,
)
from vision_attn.explain.maps import image_size
from vision_attn.explain.targets import check
from vision_attn.tape import Attended


def attention(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    layer: int | None = None,
    query: Query = None,
) -> Maps:
    """Show where the head's tokens (or `query`) look in one layer, averaged over heads.

    `layer` None is the last look before the head: the last layer, or the head itself where it pools
    by attention. The map is the same for every class.
    """
    check(model, images, targets)
    size = image_size(images)
    with explained(model), torch.no_grad():
        looks = look(model, images, "attention", targets)
        row = starting_row(model, looks, size, query, _reading(looks))
        if layer is not None or query is not None or looks.reading is None:
            record = _layer(looks, -1 if layer is None else layer)
            row = look_from(row, record).mean(1)
        return row_map(model, row, size)


def attention_grids(
    model: Explainable, images: Images, *, query: Query = None
) -> Float[Tensor, "batch layer head row column"]:
    """Give the look of the head's tokens (or of `query`) in every layer and head, not upsampled."""
    size = image_size(images)
    with explained(model), torch.no_grad():
        looks = look(model, images, "attention")
        row = starting_row(model, looks, size, query, _reading(looks))
        seen = torch.stack([look_from(row, record) for record in looks.layers], dim=1)
        grids = model.to_map(seen.flatten(0, 2).unsqueeze(-1), size)[:, 0]
        return grids.unflatten(0, seen.shape[:3])


def patch_attention(
    model: Explainable, images: Images, *, layer: int = -1
) -> Float[Tensor, "batch head patch row column"]:
    """Give what every patch, row by row, looks at in one layer, not upsampled."""
    size = image_size(images)
    with explained(model), torch.no_grad():
        record = _layer(look(model, images, "attention"), layer)
        weights = weights_of(record)
        patches = token_grid(model, weights.shape[-1], size, weights.device).flatten()
        seen = weights[:, :, patches]
        grids = model.to_map(seen.flatten(0, 2).unsqueeze(-1), size)[:, 0]
        return grids.unflatten(0, seen.shape[:3])


def sink_share(
    model: Explainable, images: Images, *, patches: int = 4, layer: int = -1
) -> Float[Tensor, " batch"]:
    """Measure which share of the looks at patches goes to the few most looked at, (0, 1].

    Far above `patches` / number of patches, attention has sinks, and its maps show these rather
    than the object. Darcet 2024 (arXiv:2309.16588).
    """
    looked_at = patch_attention(model, images, layer=layer).mean((1, 2)).flatten(1)
    if not 1 <= patches <= looked_at.shape[1]:
        raise ValueError(f"patches must be in [1, {looked_at.shape[1]}], got {patches}")
    return looked_at.topk(patches).values.sum(1) / looked_at.sum(1)


def _reading(looks: Looks) -> Float[Tensor, "batch token"] | None:
    return None if looks.reading is None else weights_of(looks.reading).mean(1)[:, 0]


def _layer(looks: Looks, layer: int) -> Attended:
    count = len(looks.layers)
    if not -count <= layer < count:
        raise ValueError(f"layer must be in [{-count}, {count}), got {layer}")
    return looks.layers[layer]
