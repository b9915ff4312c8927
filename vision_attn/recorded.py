"""What runs recorded of their recipes, perhaps before some of today's settings were there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision_attn.checking.entries import Entries
from vision_attn.checking.mistakes import check
from vision_attn.recipe import SECTIONS, Recipe, entries_of

if TYPE_CHECKING:
    from vision_attn.engine.run import Run

CONFIG = "config.yaml"


def recipe_of(folder: Path, *overrides: str) -> Recipe:
    """Read the recipe of a run; its weights are the run's own, wherever they once started from.

    Raises RecipeError if it is wrong, or has a setting that is no more.
    """
    return check(Recipe, _entries(folder / CONFIG, "init=null", *overrides), SECTIONS, set())


def read_past(path: Path) -> Recipe:
    """Read the recipe of a finished run, whose data may have moved and whose `init` may be gone.

    Raises RecipeError as above.
    """
    return check(Recipe, _entries(path), SECTIONS, {"data", "init", "train"})


def open_run(folder: Path | str) -> Run:
    """Open a run, its recipe as `completed` gives it; raises as that does."""
    from vision_attn.engine.run import Run

    run = Run.open(folder)
    return Run(run.folder, completed(run.recipe, run.folder / CONFIG), run.spec)


def completed(recipe: dict[str, Any], origin: Path) -> dict[str, Any]:
    """Give the recipe that the file `origin` keeps, and the defaults of settings that came later.

    Raises RecipeError for a setting that is no more.
    """
    entries = Entries(tree=_as_then(recipe), origins={(): str(origin)})
    return check(Recipe, entries, SECTIONS, unchecked=set(SECTIONS)).to_dict()


def _entries(path: Path, *overrides: str) -> Entries:
    entries = entries_of(path, *overrides)
    entries.tree = _as_then(entries.tree)
    return entries


def _as_then(tree: dict[str, Any]) -> dict[str, Any]:
    """Say what was done before it was a setting, where that is not the default of today.

    Every decoder looked before it read the last word (Xu 2015).
    """
    match tree:
        case {"model": {"decoder": {"name": "lstm" | "glimpse"} as decoder} as model}:
            return tree | {"model": model | {"decoder": {"order": "look_first"} | decoder}}
    return tree
