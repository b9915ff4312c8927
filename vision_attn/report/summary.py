"""The scores of an export as one table: a row a network and method, with settings and intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch

from vision_attn.explain.methods import BASELINES
from vision_attn.report.figures import LOWER, title
from vision_attn.report.index import index
from vision_attn.report.interval import RESAMPLES, Estimate, estimate
from vision_attn.report.markdown import heading, table

Line: TypeAlias = Mapping[str, Any]


def write_summary(folder: Path | str, seed: int = 0) -> Path:
    """Write scores.md: mean, 95 % interval, number of images and settings of every scored map.

    Maps of one network, method and target with the same settings make a row; `seed` draws the
    bootstrap samples. Raises ValueError if nothing in the folder was scored.
    """
    lines = {line["file"]: line for line in index(folder) if line["scores"]}.values()
    if not lines:
        raise ValueError(f"{folder} must hold scored maps, got none")
    names = list(dict.fromkeys(name for line in lines for name in line["scores"]))
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        about = line["model"], line["method"], json.dumps(line["settings"], sort_keys=True)
        groups.setdefault(about, []).append(line)
    head = ["network", "map", "for", "images", *(heading(name) for name in names), "settings"]
    found = [Group(group, _estimates(group, names, seed)) for group in groups.values()]
    path = Path(folder) / "scores.md"
    path.write_text(
        f"{table([head, *(_row(group, names, found) for group in found)])}\n\n"
        f"In brackets the 95 % interval: Wilson for shares, bootstrap ({RESAMPLES:,} resamples, "
        f"seed {seed}) for means; where a score is undefined for some images, how many are left. "
        f"Maps in italics know nothing of the network; a network's best score is bold.\n"
    )
    return path


class Group(NamedTuple):
    """Hold the maps that make a row, and their mean scores."""

    lines: Sequence[Line]
    scores: Mapping[str, Estimate]

    @property
    def rivals(self) -> tuple[str, str]:
        """Name the network and what is explained: what rows must share to be ranked."""
        return self.lines[0]["model"], self.lines[0]["settings"].get("target", "")


def _estimates(lines: Sequence[Line], names: Sequence[str], seed: int) -> dict[str, Estimate]:
    values = {name: [x["scores"][name] for x in lines if name in x["scores"]] for name in names}
    return {
        name: estimate(torch.tensor(numbers), torch.Generator().manual_seed(seed))
        for name, numbers in values.items()
        if numbers
    }


def _row(group: Group, names: Sequence[str], every: Sequence[Group]) -> list[str]:
    first, (model, target) = group.lines[0], group.rivals
    label = title(first["method"])
    return [
        title(model),
        f"*{label}*" if first["method"] in BASELINES else label,
        target,
        f"{len(group.lines):,}",
        *(_cell(group, name, every) for name in names),
        _written(first["settings"]),
    ]


def _cell(group: Group, name: str, every: Sequence[Group]) -> str:
    if name not in group.scores:
        return ""
    found, sign = group.scores[name], -1 if name in LOWER else 1
    rivals = [x.scores[name].value for x in every if x.rivals == group.rivals and name in x.scores]
    value = f"{found.value:.3f}"
    if sign * found.value == max(sign * rival for rival in rivals):
        value = f"**{value}**"
    fewer = "" if found.images == len(group.lines) else f" of {found.images:,}"
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
