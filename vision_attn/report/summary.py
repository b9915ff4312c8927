"""The scores of an export as one table: a row a network and method, with settings and intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch

from vision_attn.explain.methods import BASELINES
from vision_attn.report.figures import LOWER, title
from vision_attn.report.index import held
from vision_attn.report.interval import RESAMPLES, Estimate, estimate
from vision_attn.report.markdown import heading, table

Line: TypeAlias = Mapping[str, Any]


def write_summary(folder: Path | str, seed: int = 0) -> Path:
    """Write scores.md: mean, 95 % interval, number of images and settings of every scored map.

    Maps of one network, method and target with the same settings make a row; `seed` draws the
    bootstrap samples. Raises ValueError if nothing in the folder was scored.
    """
    groups: dict[tuple[str, ...], Group] = {}
    for line in held(folder):
        if line["scores"]:
            about = line["model"], line["method"], json.dumps(line["settings"], sort_keys=True)
            groups.setdefault(about, Group(line)).add(line["scores"])
    if not groups:
        raise ValueError(f"{folder} must hold scored maps, got none")
    names = list(dict.fromkeys(name for group in groups.values() for name in group.values))
    head = ["network", "map", "for", "images", *(heading(name) for name in names), "settings"]
    found = list(groups.values())
    for group in found:
        group.scores = _estimates(group.values, seed)
    path = Path(folder) / "scores.md"
    path.write_text(
        f"{table([head, *(_row(group, names, found) for group in found)])}\n\n"
        f"In brackets the 95 % interval: Wilson for shares, bootstrap ({RESAMPLES:,} resamples, "
        f"seed {seed}) for means; where a score is undefined for some images, how many are left. "
        f"Maps in italics know nothing of the network; a network's best score is bold.\n"
    )
    return path


@dataclass
class Group:
    """Hold what the maps of a row have in common, and their scores."""

    first: Line
    maps: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)
    """Of each score, where it is defined."""
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    """Their means."""

    def add(self, scores: Mapping[str, float]) -> None:
        """Count in a map."""
        self.maps += 1
        for name, value in scores.items():
            self.values.setdefault(name, []).append(value)

    @property
    def rivals(self) -> tuple[str, str]:
        """Name the network and what is explained: what rows must share to be ranked."""
        return self.first["model"], self.first["settings"].get("target", "")


def _estimates(values: Mapping[str, Sequence[float]], seed: int) -> dict[str, Estimate]:
    return {
        name: estimate(torch.tensor(numbers), torch.Generator().manual_seed(seed))
        for name, numbers in values.items()
    }


def _row(group: Group, names: Sequence[str], every: Sequence[Group]) -> list[str]:
    model, target = group.rivals
    label = title(group.first["method"])
    return [
        title(model),
        f"*{label}*" if group.first["method"] in BASELINES else label,
        target,
        f"{group.maps:,}",
        *(_cell(group, name, every) for name in names),
        _written(group.first["settings"]),
    ]


def _cell(group: Group, name: str, every: Sequence[Group]) -> str:
    if name not in group.scores:
        return ""
    found, sign = group.scores[name], -1 if name in LOWER else 1
    rivals = [x.scores[name].value for x in every if x.rivals == group.rivals and name in x.scores]
    value = f"{found.value:.3f}"
    if sign * found.value == max(sign * rival for rival in rivals):
        value = f"**{value}**"
    fewer = "" if found.images == group.maps else f" of {found.images:,}"
    return f"{value} ({found.low:.3f}-{found.high:.3f}){fewer}"


def _written(settings: Mapping[str, Any]) -> str:
    """Write the settings of the method, then those of each score; a batch size changes nothing."""
    shown = {k: v for k, v in settings.items() if k not in ("target", "image", "scores", "masks")}
    parts = {"": shown} | settings.get("scores", {})
    return "; ".join(
        f"{title(name)} {listed}".strip()
        for name, values in parts.items()
        if (listed := ", ".join(f"{k}={v}" for k, v in values.items() if _tells(k, v)))
    )


def _tells(name: str, value: object) -> bool:
    return name != "batch_size" and value is not None
