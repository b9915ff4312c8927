"""The document and its tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vision_attn.explain.methods import BASELINES
from vision_attn.report.figures import LOWER, title
from vision_attn.report.findings import Measured, findings, notes, percent
from vision_attn.report.interval import Estimate
from vision_attn.report.measure import Numbers

CAPTIONS = {
    "learning_curves": "Validation accuracy while training.",
    "maps": "An image a row, a map a column, each for the true class; below, what the network "
    "answered and how sure it was. The last rows are images that a network gets wrong, if there "
    "are any; the others are the first that all get right.",
    "scores": "The same scores. Bars are 95 % intervals, rings are maps that know nothing.",
}
MEANINGS = {
    "pointing_game": "how often the highest pixel of the map lies in the object (Zhang 2018).",
    "energy": "which share of the map's positive values lies in the object (Wang 2020).",
    "deletion": "mean probability of the class while pixels go, highest first; it falls early if "
    "the map names what the network uses (Petsiuk 2018).",
}
"""A line for each score."""


def markdown(
    numbers: Measured,
    conditions: Mapping[str, Any],
    figures: Sequence[str],
    *,
    command: str,
    seconds: float | None = None,
) -> str:
    """Write a report; each of `figures` is drawn in the file of that name beside it."""
    names = " and ".join(title(name) for name in numbers)
    took = "" if seconds is None else f" It took {seconds:,.0f} s."
    shown = {name: _figure(name) for name in figures}
    parts = [
        f"# {names}: how well they see, and where they look",
        findings(numbers),
        f"Made, and made again, by `{command}`.{took} The numbers: [report.json](report.json).",
        "## The networks",
        table(network_rows(numbers)),
        f"In brackets the 95 % interval; for images/s, which is inference on {_place(conditions)} "
        f"with the networks taking turns, the range. FLOPs are those of matrix products and "
        f"convolutions in one forward pass, a multiply-add counted as two.",
        shown.get("learning_curves", ""),
        "## Where they look",
        shown.get("maps", ""),
        "## Whether the maps are right",
        table(map_rows(numbers)),
        "\n".join(_meanings(numbers)),
        shown.get("scores", ""),
        "## What to keep in mind",
        "\n".join(f"- {note}" for note in notes(numbers, conditions)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out as a table, the first as its head; all but the first column right-aligned."""
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def network_rows(numbers: Measured) -> list[list[str]]:
    """Give a column for each network: accuracy and cost."""
    every = list(numbers.values())
    return [
        ["", *(title(name) for name in numbers)],
        [
            f"accuracy on {every[0].accuracy.images:,} held-out images",
            *(_accuracy(x.accuracy) for x in every),
        ],
        ["parameters", *(f"{x.parameters:,}" for x in every)],
        ["FLOPs an image", *(f"{x.flops / 1e6:,.1f} M" for x in every)],
        ["training seconds", *(_seconds(x.train_seconds) for x in every)],
        ["images/s", *(_rate(x) for x in every)],
    ]


def map_rows(numbers: Measured) -> list[list[str]]:
    """Give a row for each network and map, baselines in italics, a network's best in bold."""
    names = _scores(numbers)
    rows = [["network", "map", "images", *(heading(name) for name in names)]]
    for model, measured in numbers.items():
        best = {name: _best(measured, name) for name in names}
        for method, scores in measured.maps.items():
            label = f"*{title(method)}*" if method in BASELINES else title(method)
            cells = [_score(scores[name], method == best[name]) for name in names]
            rows.append([title(model), label, f"{scores[names[0]].images:,}", *cells])
    return rows


def heading(score: str) -> str:
    """Name a score, with an arrow to its better end."""
    return f"{title(score)} {'↓' if score in LOWER else '↑'}"


def _scores(numbers: Measured) -> list[str]:
    return list(next(iter(next(iter(numbers.values())).maps.values())))


def _best(measured: Numbers, score: str) -> str:
    sign = -1 if score in LOWER else 1
    return max(measured.maps, key=lambda method: sign * measured.maps[method][score].value)


def _score(number: Estimate, best: bool) -> str:
    value = f"**{number.value:.3f}**" if best else f"{number.value:.3f}"
    return f"{value} ({number.low:.3f}-{number.high:.3f})"


def _accuracy(number: Estimate) -> str:
    return f"**{percent(number.value)}** ({100 * number.low:.1f}-{100 * number.high:.1f})"


def _seconds(seconds: float | None) -> str:
    return "not logged" if seconds is None else f"{seconds:,.0f}"


def _rate(measured: Numbers) -> str:
    speed = measured.speed
    return f"{speed.median:,.0f} ({speed.low:,.0f}-{speed.high:,.0f})"


def _meanings(numbers: Measured) -> Iterator[str]:
    for name in _scores(numbers):
        yield f"- **{title(name)}**: {MEANINGS[name]}"


def _figure(name: str) -> str:
    return f"![{title(name)}]({name}.png)\n\n*{CAPTIONS[name]}*"


def _place(conditions: Mapping[str, Any]) -> str:
    if conditions["device"] != "cpu":
        return conditions["device"]
    return f"the CPU ({conditions['threads']} thread{'s' * (conditions['threads'] > 1)})"
