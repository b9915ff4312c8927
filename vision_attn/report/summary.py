"""The scores of an export as one table: a row a network and method, with settings and intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from vision_attn.explain.methods import BASELINES
from vision_attn.report.figures import title
from vision_attn.report.index import index
from vision_attn.report.interval import RESAMPLES, estimate
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
    path = Path(folder) / "scores.md"
    path.write_text(
        f"{table([head, *(_row(group, names, seed) for group in groups.values())])}\n\n"
        f"In brackets the 95 % interval: Wilson for shares, bootstrap ({RESAMPLES:,} resamples, "
        f"seed {seed}) for means; where a score is undefined for some images, how many are left. "
        f"Maps in italics know nothing of the network.\n"
    )
    return path


def _row(lines: Sequence[Line], names: Sequence[str], seed: int) -> list[str]:
    first = lines[0]
    known = first["method"] in BASELINES
    return [
        title(first["model"]),
        f"*{title(first['method'])}*" if known else title(first["method"]),
        first["settings"].get("target", ""),
        f"{len(lines):,}",
        *(_cell(lines, name, seed) for name in names),
        _written(first["settings"]),
    ]


def _cell(lines: Sequence[Line], name: str, seed: int) -> str:
    values = [line["scores"][name] for line in lines if name in line["scores"]]
    if not values:
        return ""
    found = estimate(torch.tensor(values), torch.Generator().manual_seed(seed))
    fewer = "" if len(values) == len(lines) else f" of {len(values):,}"
    return f"{found.value:.3f} ({found.low:.3f}-{found.high:.3f}){fewer}"


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
