"""The report on a moving eye: its trails, the places it visits, and what each glimpse is worth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from vision_attn.data.splits import SPLITS, SplitName
from vision_attn.engine.run import replace
from vision_attn.report.compare import DPI
from vision_attn.report.figures import FAINT, INK, STYLE, colour, title
from vision_attn.report.findings import percent
from vision_attn.report.interval import Estimate, share
from vision_attn.report.markdown import table
from vision_attn.report.measure import Evidence, Subject, accuracy, check_alike, check_same
from vision_attn.report.overlay import UNSIGNED
from vision_attn.report.trail import save_animation, trail, trail_figure, trail_frames
from vision_attn.report.walk import BORDER, Habits, habits, multiply_adds, walk

CELLS = 24
"""A side of a heat map of places."""
CHOSE = " The validation images chose the best weights of the run, so these numbers flatter it."
"""Said where no test judges."""


class Price(NamedTuple):
    """What an answer is worth, and what it takes."""

    name: str
    accuracy: Estimate
    multiply_adds: int


def glimpse_report(
    eye: Subject,
    others: Sequence[Subject],
    evidence: Sequence[Evidence],
    folder: Path,
    *,
    split: SplitName,
    command: str,
) -> Path:
    """Measure a moving eye, beside networks that see the whole image; give the report.

    `evidence` is the same images of a `split`, prepared for the eye, then for each other. Writes
    glimpses.md, glimpses.json, figures, and the trail over each image as PNG and as GIF. Raises
    ValueError if the networks know other classes than each other.
    """
    check_alike([eye, *others])
    check_same(evidence)
    own, *theirs = evidence
    model: Any = eye.model
    sample = own.images[:1].to(eye.device)
    found = habits(model, own.batches)
    costs = multiply_adds(model, sample)
    images = len(found.centres)
    steps = [
        Price(f"{number}", share(int(hits), images), cost)
        for number, (hits, cost) in enumerate(zip(found.hits, costs, strict=True), 1)
    ]
    rivals = [
        Price(x.name, accuracy(x, shown.batches), multiply_adds(x.model, sample)[-1])
        for x, shown in zip(others, theirs, strict=True)
        for sample in [shown.images[:1].to(x.device)]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"steps": step_figure(steps, rivals), "places": place_figure(found)}
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)
    trails = _trails(eye, own, folder)
    numbers = {"split": split} | _numbers(steps, rivals, found)
    replace(folder / "glimpses.json", json.dumps(numbers, indent=2) + "\n")
    report = folder / "glimpses.md"
    replace(report, _markdown(eye.name, steps, rivals, numbers, trails, command))
    return report


def _trails(eye: Subject, evidence: Evidence, folder: Path) -> list[str]:
    """Draw the trail over every image, and name the files."""
    model: Any = eye.model
    names = []
    for number, (image, label) in enumerate(zip(evidence.images, evidence.labels, strict=True)):
        batch = image[None].to(eye.device)
        drawn = trail(
            batch,
            walk(model, batch),
            eye.run.spec,
            label=int(label),
            growth=getattr(model.config, "growth", 1.0),
        )
        names.append(f"trail-{number:02d}")
        trail_figure(drawn).savefig(folder / f"{names[-1]}.png", dpi=DPI)
        save_animation(trail_frames(drawn), folder / f"{names[-1]}.gif")
    return names


def step_figure(steps: Sequence[Price], rivals: Sequence[Price]) -> Figure:
    """Draw accuracy after each glimpse over the multiply-adds so far, rivals as single points."""
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.subplots()
        across = [step.multiply_adds / 1e6 for step in steps]
        up = [100 * step.accuracy.value for step in steps]
        ax.plot(across, up, color=colour(0), linewidth=1.8, marker="o", markersize=4)
        ax.fill_between(
            across,
            [100 * step.accuracy.low for step in steps],
            [100 * step.accuracy.high for step in steps],
            color=colour(0),
            alpha=0.15,
            linewidth=0,
        )
        for step, x, y in zip(steps, across, up, strict=True):
            _note(ax, step.name, x, y, colour(0))
        for number, rival in enumerate(rivals, 1):
            x, y = rival.multiply_adds / 1e6, 100 * rival.accuracy.value
            name = title(rival.name)
            ax.plot([x], [y], "s", color=colour(number), markersize=6, label=name)
        if rivals:  # names beside points that lie close would lie on each other
            ax.legend(loc="lower right", frameon=False, fontsize=8, labelcolor="linecolor")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("million multiply-adds an image")
        ax.set_ylabel("accuracy, %")
        ax.set_title("after each glimpse, numbered", size=9, color=INK, loc="left")
        ax.grid(color="#d0d7de", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.margins(x=0.12)
    return figure


def _note(ax: Any, words: str, x: float, y: float, ink: str) -> None:
    ax.annotate(
        words, (x, y), xytext=(0, 6), textcoords="offset points", color=ink, size=8, ha="center"
    )


def place_figure(found: Habits) -> Figure:
    """Draw how often each place is visited, and how often the places lie at the border.

    By each glimpse, and by all but the first together: the first is mostly the same for all images,
    and would outshine what was chosen.
    """
    steps = found.centres.shape[1]
    with rc_context(STYLE):
        figure = Figure(figsize=(1.35 * (steps + 1) + 2.9, 2.2), layout="constrained")
        *axes, last = figure.subplots(1, steps + 2, width_ratios=[1] * (steps + 1) + [2])
        later = found.centres[:, 1:][found.visited[:, 1:]]
        each = zip(found.centres.unbind(1), found.visited.unbind(1), strict=True)
        groups = [later, *(centres[visited] for centres, visited in each)]
        for number, (ax, centres) in enumerate(zip(axes, groups, strict=True)):
            ax.imshow(heat(centres).numpy(), cmap=UNSIGNED, vmin=0, extent=(-1, 1, 1, -1))
            ax.set_title(f"glimpse {number}" if number else "after the first", size=8, color=INK)
            ax.set_xticks([])
            ax.set_yticks([])
        _draw_borders(last, found)
        figure.supxlabel(
            f"{percent(found.border)} of the places after the first lie at the border, "
            f"on {len(found.centres):,} images",
            size=8,
            color=FAINT,
        )
    return figure


def _draw_borders(ax: Any, found: Habits) -> None:
    """Draw the share of places at the border, for every glimpse after the first."""
    shares = 100 * found.borders[1:].numpy()
    numbers = range(2, 2 + len(shares))
    bars = ax.bar(numbers, shares, color=colour(0), width=0.7)
    ax.bar_label(bars, fmt="{:.1f}", size=6, color=INK, padding=1)
    ax.set_xticks(numbers)
    ax.tick_params(labelsize=7)
    ax.set_ylim(0, 115)
    ax.set_yticks([0, 50, 100])
    ax.set_xlabel("glimpse", size=8)
    ax.set_ylabel("images, %", size=8)
    ax.set_title("at the border", size=8, color=INK)


def heat(centres: Float[Tensor, "place xy"], cells: int = CELLS) -> Float[Tensor, "row column"]:
    """Count the share of places in every cell of the image."""
    cell = ((centres + 1) / 2 * cells).long().clamp(0, cells - 1)
    counts = torch.bincount(cell[:, 1] * cells + cell[:, 0], minlength=cells**2)
    return counts.view(cells, cells) / max(len(centres), 1)


def _numbers(steps: Sequence[Price], rivals: Sequence[Price], found: Habits) -> dict[str, Any]:
    return {
        "images": len(found.centres),
        "border": found.border,
        "borders": found.borders.tolist(),
        "glimpses": found.taken.float().mean().item(),
        "after": [_entry(step) for step in steps],
        "others": {rival.name: _entry(rival) for rival in rivals},
    }


def _entry(price: Price) -> dict[str, Any]:
    value, low, high, _ = price.accuracy
    return {
        "accuracy": value,
        "accuracy_interval": [low, high],
        "multiply_adds": price.multiply_adds,
    }


def _markdown(
    name: str,
    steps: Sequence[Price],
    rivals: Sequence[Price],
    numbers: dict[str, Any],
    trails: Sequence[str],
    command: str,
) -> str:
    rows = [["", "one-pass error", "95 % interval", "multiply-adds"]]
    rows += [_row(f"{step.name} glimpse{'s' * (step.name != '1')}", step) for step in steps]
    rows += [_row(title(rival.name), rival) for rival in rivals]
    words = f"{SPLITS[numbers['split']]} images"
    stopped, flattered = numbers["glimpses"] < len(steps), numbers["split"] == "valid"
    enough = f" It has seen enough after {numbers['glimpses']:.2f} glimpses on average."
    parts = [
        f"# Where {title(name)} looks, and what for",
        f"On {numbers['images']:,} {words}, each seen in one pass without any "
        f"draw.{enough if stopped else ''}{CHOSE if flattered else ''} Made, and made again, by "
        f"`{command}`. The numbers: [glimpses.json](glimpses.json).",
        table(rows),
        "![Accuracy after each glimpse](steps.png)",
        "Multiply-adds are those of matrix products and convolutions for one image, of the size "
        "that each network was trained with; cutting out patches is left out.",
        "## The places it visits",
        "![Visited places](places.png)",
        f"At the border are places at {BORDER} or more from the middle in x or y; the edges of the "
        "image are at 1.",
        "## Trails",
        "Boxes are the finest patch, dotted ones the wider patches of the last glimpse.",
        *(f"![Trail]({trail}.png)" for trail in trails),
        "Animated: " + ", ".join(f"[{trail}.gif]({trail}.gif)" for trail in trails) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _row(name: str, price: Price) -> list[str]:
    value, low, high, _ = price.accuracy
    return [
        name,
        f"{100 * (1 - value):.2f} %",
        f"{100 * (1 - high):.2f}-{100 * (1 - low):.2f}",
        f"{price.multiply_adds / 1e6:,.2f} M",
    ]
