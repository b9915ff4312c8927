"""Attention flow: the largest amount of attention that layers can pass from a token to the head."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.looks import Query, look, row_map, starting_row, token_grid, weights_of
from vision_attn.explain.maps import image_size
from vision_attn.explain.rollout import check_residual
from vision_attn.explain.targets import check

UNIT = 2**30
"""Capacities are whole multiples of 1 / UNIT, and all a source gives still fits 32 bits."""


def attention_flow(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    residual: float = 0.5,
    query: Query = None,
    most_tokens: int = 100,
) -> Maps:
    """Give each patch's maximum flow to what the head (or `query`) reads; class-agnostic.

    Edges are attention, averaged over heads and mixed with the skip connection. Exact but for
    rounding of capacities to 1e-9. One flow problem a patch, so networks of more than `most_tokens`
    tokens are refused.

    Abnar, Zuidema 2020, section 3 (arXiv:2005.00928).
    """
    check(model, images, targets)
    check_residual(residual)
    size = image_size(images)
    with explained(model), torch.no_grad():
        looks = look(model, images, "attention_flow", targets)
        reading = weights_of(looks.reading).mean(1)[:, 0] if looks.reading else None
        rows = starting_row(model, looks, size, query, reading)
        tokens = rows.shape[1]
        if tokens > most_tokens:
            raise ValueError(
                f"attention_flow solves a problem for every patch, got {tokens} tokens and "
                f"most_tokens={most_tokens}; use rollout, or allow more"
            )
        layers = torch.stack([weights_of(record).mean(1) for record in looks.layers], dim=1)
        skip = torch.eye(tokens, device=layers.device)
        layers = (1 - residual) * layers + residual * skip.to(layers)
        patches = token_grid(model, tokens, size, rows.device).flatten().tolist()
        flows = [flow(row, layer, patches) for row, layer in zip(rows, layers, strict=True)]
        return row_map(model, torch.stack(flows).to(rows), size)


def flow(
    row: Float[Tensor, " token"], layers: Float[Tensor, "layer token token"], sinks: list[int]
) -> Float[Tensor, " token"]:
    """Solve the maximum flow from `row` after the last layer to each of the first layer's tokens.

    Tokens that are no sink get 0.
    """
    depth, tokens, _ = layers.shape
    capacities = (layers.flip(0).double().cpu().numpy() * UNIT).astype(np.int32)
    given = (row.double().cpu().numpy() * UNIT).astype(np.int32)
    source = (depth + 1) * tokens  # nodes are tokens from the last layer back to the input
    level, start, end = np.indices(capacities.shape)
    tails = np.concatenate([(level * tokens + start).ravel(), np.full(tokens, source)])
    heads = np.concatenate([((level + 1) * tokens + end).ravel(), np.arange(tokens)])
    values = np.concatenate([capacities.ravel(), given])
    graph = coo_array((values, (tails, heads)), shape=(source + 1, source + 1)).tocsr()
    result = torch.zeros(tokens, dtype=torch.float64)
    for sink in sinks:
        result[sink] = maximum_flow(graph, source, depth * tokens + sink).flow_value / UNIT
    return result
