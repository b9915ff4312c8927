"""The plan of a study, checked before torch is imported: which trainings it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

from vision_attn.checking.entries import Entries, Mistake, Place
from vision_attn.checking.mistakes import RecipeError, check
from vision_attn.data.config import ImagesConfig
from vision_attn.recipe import SECTIONS, Recipe, entries_of
from vision_attn.rules import hold, nearest

Start: TypeAlias = Literal["scratch", "fine_tuned"]
OWN = ("run", "seed", "init", "data.train_share", "data.share_seed", "train.evaluate_every")
"""Settings of a recipe that the study itself decides."""
EQUAL = ("data.", "task.", "train.steps", "train.batch_size")
"""What must be the same in all trainings: data, augmentation and budget."""


class Study(BaseModel):
    """Which networks are trained on which shares of one data set, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    run: str = "runs/unnamed"
    """Folder of the study, a run folder a training in it; runs/NAME for a file called NAME.yaml."""
    shares: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """Shares of the training images, (0, 1]; smaller ones lie inside larger ones."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each chooses the images of a share, the initial weights and the order."""
    networks: dict[str, dict[str, str | None]]
    """For each name a `recipe`, beside the study's file, and an `init` to be fine-tuned from, as in
    a recipe; null for from scratch only."""
    settings: dict[str, Any] = {}
    """Sections of a recipe, laid over those of every recipe."""
    fine_tuning: dict[str, Any] = {}
    """Sections of a recipe, laid over `settings` where a training starts from an `init`."""

    @model_validator(mode="after")
    def _makes_sense(self, info: ValidationInfo) -> Study:
        unchecked = (info.context or {}).get("unchecked", set())
        hold(line for line in self._broken() if re.split("[.:]", line)[0] not in unchecked)
        return self

    def _broken(self) -> Iterator[str]:
        """Give `path: what is wrong` for each rule that is broken."""
        if not self.shares or any(not 0 < share <= 1 for share in self.shares):
            yield f"shares: must be one or more numbers in (0, 1], got {list(self.shares)}"
        if not self.seeds or min(self.seeds) < 0:
            yield f"seeds: must be one or more numbers from 0 up, got {list(self.seeds)}"
        for name in ("shares", "seeds"):
            if len({*(given := getattr(self, name))}) < len(given):
                yield f"{name}: must differ from each other, got {list(given)}"
        if not self.networks:
            yield "networks: must name at least one network with its recipe"
        for name, network in self.networks.items():
            yield from _broken_network(f"networks.{name}", network)
        for section in ("settings", "fine_tuning"):
            for place in OWN:
                if _has(getattr(self, section), place.split(".")):
                    yield f"{section}.{place}: the study decides it; leave it out"
        inits = [network.get("init") for network in self.networks.values()]
        if self.fine_tuning and inits and not any(inits):
            yield "fine_tuning: is for networks that have an init, got none; leave it out"

    @property
    def starts(self) -> list[tuple[str, Start]]:
        """List what is compared: each network from scratch and, if it has an init, fine-tuned."""
        ways: tuple[Start, Start] = ("scratch", "fine_tuned")
        return [
            (name, start)
            for name, network in self.networks.items()
            for start in (ways if network.get("init") else ways[:1])
        ]


class Training(NamedTuple):
    """One training of a study."""

    network: str
    start: Start
    share: float
    seed: int
    recipe: Recipe

    @property
    def folder(self) -> Path:
        """Say where its run is."""
        return Path(self.recipe.run)


class Plan(NamedTuple):
    """A study, and its trainings in the order in which they are carried out."""

    study: Study
    trainings: list[Training]


def read_plan(path: Path, *overrides: str) -> Plan:
    """Read a study's file; each override is `field=value`, its value in YAML.

    Raises RecipeError, a line for each mistake in it, or in a recipe with what is laid over it.
    Imports neither torch nor data.
    """
    entries = Entries()
    entries.load(path, "a study names networks, each with its recipe")
    if entries.tree:
        entries.tree.setdefault("run", f"runs/{path.stem}")
        for override in overrides:
            entries.override(override)
    study = check(Study, entries, {name: {} for name in Study.model_fields}, set())
    recipes = {
        name: entries_of(path.parent / str(network["recipe"]))
        for name, network in study.networks.items()
    }
    found: dict[tuple[str, Start], list[Mistake]] = {}
    trainings = []
    for seed, (name, start), share in product(study.seeds, study.starts, study.shares):
        if (name, start) in found:
            continue  # the mistakes of a recipe are those of all its shares and seeds
        try:
            recipe = _recipe(recipes[name], entries, name, start, share, seed)
            trainings.append(Training(name, start, share, seed, recipe))
        except RecipeError as error:
            found[name, start] = error.mistakes
    mistakes = [x for several in found.values() for x in several]
    if mistakes := list(dict.fromkeys(mistakes or unequal(str(path), trainings))):
        raise RecipeError(mistakes)
    return Plan(study, trainings)


def unequal(source: str, trainings: Sequence[Training]) -> Iterator[Mistake]:
    """Name what cannot be compared: other data, another augmentation or budget, another task."""
    told: set[Place] = set()
    recipes = {(x.network, x.start): dict(_flat(x.recipe.to_dict())) for x in reversed(trainings)}
    first, *others = reversed(recipes)
    for other in others:
        for place, there in recipes[other].items():
            here = recipes[first].get(place)
            if ".".join(place).startswith(EQUAL) and here != there and place not in told:
                told.add(place)
                words = f"{' '.join(first)} has {here}, {' '.join(other)} {there}"
                yield Mistake(
                    source, ("settings", *place), f"must be set, for recipes differ: {words}"
                )


def _recipe(
    base: Entries, study: Entries, name: str, start: Start, share: float, seed: int
) -> Recipe:
    """Make the recipe of one training; raises RecipeError."""
    entries = deepcopy(base)
    if not entries.tree:
        raise RecipeError(entries.mistakes)
    entries.lay(study, ("settings",))
    entries.tree["init"] = None
    if start == "fine_tuned":
        entries.lay(study, ("fine_tuning",))
        entries.lay(study, ("networks", name))
        del entries.tree["recipe"]
    entries.tree["run"] = f"{study.tree['run']}/{name}_{start}_{share:g}_seed{seed}"
    entries.tree["seed"] = seed
    data, train = (entries.tree.setdefault(section, {}) for section in ("data", "train"))
    plain = check(Recipe, entries, SECTIONS, set())
    if not isinstance(plain.data, ImagesConfig) or plain.task.name != "classification":
        place = ("data", "name")
        told = (
            f"a study takes shares of files or a public set, one label an image, got data.name="
            f"{plain.data.name} and task.name={plain.task.name}"
        )
        raise RecipeError([Mistake(entries.origin(place), place, told)])
    data |= {"train_share": share} | ({"share_seed": seed} if share < 1 else {})
    train["evaluate_every"] = plain.train.steps
    if plain.train.patience is not None:
        place = ("train", "patience")
        told = "must be null, for every training of a study takes all its steps"
        raise RecipeError([Mistake(entries.origin(place), place, told)])
    return check(Recipe, entries, SECTIONS, set())


def _broken_network(place: str, network: dict[str, str | None]) -> Iterator[str]:
    for key in network.keys() - {"recipe", "init"}:
        near = nearest(key, ("recipe", "init"))
        hint = f"did you mean {near}?" if near else "keys are recipe, init"
        yield f"{place}.{key}: unknown key; {hint}"
    if not network.get("recipe"):
        yield f"{place}.recipe: missing; name a recipe beside this file"


def _has(tree: Any, place: Sequence[str]) -> bool:
    """Tell whether a tree has something at a place."""
    for key in place:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _flat(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[Place, Any]]:
    """Give every setting of a recipe with its place."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, (*above, key))
        else:
            yield (*above, key), value
