"""Where a training starts from: initial weights, and the preprocessing that comes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vision_attn.recipe import HUB, TIMM, Recipe
from vision_attn.trained import load_model

if TYPE_CHECKING:
    from vision_attn.formats.checkpoint import Checkpoint
    from vision_attn.trained import Network

FILLED = ("mean", "std", "interpolation", "crop")
"""What data leaves to the initial weights where it says null."""
COMPARED = ("mean", "std", "interpolation", "crop", "image_size")


def open_start(init: str | None) -> Checkpoint | None:
    """Read initial weights, if any.

    `init` is timm:NAME, hf:ORG/MODEL, a run folder, a folder in the format of transformers or
    timm, or a .safetensors, .npz or .pth file. Raises ValueError if it cannot be read.
    """
    from vision_attn.formats.checkpoint import Checkpoint, open_path
    from vision_attn.formats.hub import fetch, from_timm_hub
    from vision_attn.formats.told import from_spec

    if init is None:
        return None
    if init.startswith(TIMM):
        return from_timm_hub(init.removeprefix(TIMM))
    if init.startswith(HUB):
        return open_path(fetch(init.removeprefix(HUB)))
    if not Path(init, "config.yaml").exists():
        return open_path(Path(init))
    earlier, spec = load_model(init)
    told = from_spec(spec, grid=getattr(earlier, "grid", None), unseen=_unseen(earlier))
    return Checkpoint(state=earlier.state_dict(), told=told)


def prepared(recipe: Recipe, start: Checkpoint | None) -> Recipe:
    """Fill what the data leaves open of preprocessing as the initial weights, if any, had it."""
    return _filled(recipe, vars(start.told)) if start else recipe


def prepared_as_before(recipe: Recipe) -> Recipe:
    """Fill what the data leaves open of preprocessing as the run that goes on began with it."""
    from vision_attn.engine.run import Run

    return _filled(recipe, Run.open(recipe.run).recipe["data"])


def _filled(recipe: Recipe, told: Mapping[str, Any]) -> Recipe:
    from vision_attn.data.images import usual

    data: Any = recipe.data
    filled = {
        name: usual(told[name], data.channels) if name in ("mean", "std") else told[name]
        for name in FILLED
        if getattr(data, name, "") is None and told.get(name) is not None
    }
    return recipe.model_copy(update={"data": replace(data, **filled)}) if filled else recipe


def start_from(model: Network, start: Checkpoint | None) -> list[str]:
    """Load initial weights, if any, and list in words what had to be fitted or does not fit well.

    A captioner may start from another one, or its encoder from a network that tells labels. Raises
    ValueError if the weights do not fit.
    """
    from vision_attn.models.encoder import start_encoder
    from vision_attn.models.weights import load_weights

    if start is None:
        return []
    label_network = hasattr(model, "decoder") and not any(
        name.startswith("decoder.") for name in start.state
    )
    known: dict[str, Any] = {"grid": start.grid, "unseen": start.told.unseen}
    if label_network:
        fitted = start_encoder(model, start.state, **known)
        place, reader = "model.encoder", cast(Any, model).encoder.network
    else:
        fitted = load_weights(model, start.state, names=start.told.names, **known)
        place, reader = "model", model
    silent = {k: x for k, x in _unseen(reader).items() if k not in start.told.unseen}
    if not label_network:
        fitted += _unnamed(model, start)
    return [*start.remarks, *fitted, *_untold(silent, place), *_differences(model, start)]


def _unseen(network: Any) -> dict[str, Any]:
    return getattr(getattr(network, "config", None), "unseen", {})


def _unnamed(model: Network, start: Checkpoint) -> Iterator[str]:
    """Say of a head that is kept that nothing tells its classes, if so."""
    from vision_attn.models.weights import HEADS

    outputs = {len(x) for name, x in start.state.items() if name.startswith(HEADS)}
    names = model.spec.names
    if start.told.names is None and outputs == {len(names)}:
        listed = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
        yield f"head: kept, though init does not tell its classes; they must be {listed} in order"


def _untold(silent: Mapping[str, Any], place: str) -> Iterator[str]:
    """Say which settings may not be those of the initial weights, for nothing tells."""
    from vision_attn.models.portrait import written

    if silent:
        settings = " and ".join(f"{place}.{name}={written(x)}" for name, x in silent.items())
        yield f"init: does not tell {settings}, which must be what it was trained with"


def _differences(model: Network, start: Checkpoint) -> Iterator[str]:
    """Say where images arrive in another way than the initial weights are used to."""
    told, spec = vars(start.told), model.spec
    if told["mean"] is None:
        yield (
            f"init: does not tell its preprocessing; data.mean={list(spec.mean)} and "
            f"data.std={list(spec.std)} must be what it was trained with"
        )
    for name in COMPARED:
        then, now = told[name], getattr(spec, name)
        if then not in (None, now):
            yield f"init: trained with {name}={then}, now the data has {now}"
