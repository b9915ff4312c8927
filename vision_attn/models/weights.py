"""Fit the weights of one network to another of the same kind but another grid or head."""

import math
from typing import Any

from torch import Tensor, nn

from vision_attn.models.embed import Grid, resize_positions

HEADS = ("head.", "head_dist.", "fc.")


def load_weights(
    model: nn.Module, state: dict[str, Tensor], *, grid: Grid | None = None
) -> list[str]:
    """Load a state dict strictly after fitting it, and list in words what was changed.

    A learned position table is resampled to the model's grid; `grid` is the one it was trained
    on, by default a square. A head with another number of outputs keeps its fresh weights.
    Raises ValueError that lists every missing, unexpected and misshapen entry.
    """
    own = model.state_dict()
    state, changes = dict(state), []
    for name, value in own.items():
        if name not in state or state[name].shape == value.shape:
            continue
        if name == "pos_embed":
            state[name], change = _fit_positions(model, state[name], grid)
            changes.append(change)
        elif name.startswith(HEADS):
            changes.append(
                f"{name}: fresh weights, since the checkpoint has {len(state[name])} outputs and "
                f"the model {len(value)}"
            )
            state[name] = value
    _refuse_misfits(own, state)
    model.load_state_dict(state)
    return changes


def _fit_positions(model: Any, table: Tensor, grid: Grid | None) -> tuple[Tensor, str]:
    prefix = model.position_prefix
    side = math.isqrt(max(table.shape[1] - prefix, 0))
    old = grid or (side, side)
    new = resize_positions(table, old, model.grid, prefix)
    rows, columns = model.grid
    return new, f"pos_embed: resampled from a {old[0]}x{old[1]} grid to {rows}x{columns}"


def _refuse_misfits(own: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    problems = [f"missing: {name}" for name in own.keys() - state.keys()]
    problems += [f"unexpected: {name}" for name in state.keys() - own.keys()]
    problems += [
        f"misshapen: {name} is {tuple(state[name].shape)}, the model needs {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    if problems:
        raise ValueError(
            "the weights must belong to a network of this kind and width:\n  "
            + "\n  ".join(sorted(problems))
        )
