"""Several captioners side by side: what their captions are worth, and whether words look right."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.engine.run import Run, flat
from vision_attn.report.figures import title
from vision_attn.report.markdown import table
from vision_attn.report.measure import train_seconds

FREE = {
    "constant": "one caption for all",
    "retrieval": "nearest by colour",
    "human": "another person",
}
"""Rows that cost nothing, by the prefix of their numbers."""
LANGUAGE = {  # number: heading, factor
    "bleu1": ("BLEU-1", 100),
    "bleu2": ("BLEU-2", 100),
    "bleu3": ("BLEU-3", 100),
    "bleu4": ("BLEU-4", 100),
    "meteor": ("METEOR", 100),
    "meteor_exact_stem": ("METEOR, exact and stem", 100),
    "rouge_l": ("ROUGE-L", 100),
    "cider_d": ("CIDEr-D", 100),
    "exact": ("exact, %", 100),
    "distinct_captions": ("distinct of 1,000", 1000),
    "words_used": ("words used, %", 100),
}
TRUTH = {  # number: heading
    "pointing": "pointing in box",
    "chance_pointing": "by chance",
    "pointing_mask": "in mask",
    "chance_pointing_mask": "by chance",
    "mass_in_box": "mass in box",
    "chance_mass_in_box": "by chance",
    "uniform_mass_in_box": "uniform",
    "mass_in_mask": "mass in mask",
    "chance_mass_in_mask": "by chance",
    "uniform_mass_in_mask": "uniform",
    "attention_correctness": "correctness",
    "chance_attention_correctness": "by chance",
}
ROLES = ("article", "size", "colour", "shape")
SAME = ("data.", "task.longest", "task.beams", "task.penalty")
"""Fields of a recipe, or beginnings of them, that decide what numbers mean."""
WORKERS = "data.workers"

MEANING = """\
The look of a word is the one before it is said, when the word is not known yet; a transformer's is
the mean of all heads of all blocks. Only noun phrases of true captions count, and a phrase's look
is the mean over its words but for the article. **Pointing**: how often the region with most weight
lies in the object, for glimpses how many of a phrase's words have the middle of their glimpse there
(Zhang 2018). **Mass**: share of the weight that lies in the object. **Correctness**: the highest
mass in the box of any of the words (Liu 2017). **By chance**: the same look held against the
object of another phrase. **Uniform**: what a look that is everywhere alike would have; it would
also point and be correct as much as its mass in the box."""


class Measured(NamedTuple):
    """A captioner's run and what an evaluation found."""

    run: Run
    numbers: Mapping[str, float]


class Group(NamedTuple):
    """Runs that differ by their seeds alone."""

    name: str
    """Of the first one's folder."""
    runs: list[Measured]

    def values(self, number: str) -> list[float]:
        """Give a number of every run that has it."""
        return [run.numbers[number] for run in self.runs if number in run.numbers]


def compare_captioners(runs: Sequence[Measured], folder: Path, *, split: str, command: str) -> Path:
    """Write report.md and report.json, and give the report; runs that differ by seed are one row.

    Raises ValueError if the runs were not measured alike.
    """
    check_alike(runs)
    groups = grouped(runs)
    folder.mkdir(parents=True, exist_ok=True)
    entries = {run.run.folder.name: dict(run.numbers) for run in runs}
    content = {"command": command, "split": split, "runs": entries}
    (folder / "report.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    report = folder / "report.md"
    report.write_text(document(groups, split, command))
    return report


def check_alike(runs: Sequence[Measured]) -> None:
    """Raise ValueError unless data and search of all runs are the same."""
    first, *others = (_deciding(run.run) for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        differing = sorted(k for k in {*first, *other} if first.get(k) != other.get(k))
        if differing:
            raise ValueError(
                f"captioners are compared on the same data and with the same search, but "
                f"{runs[0].run.folder} and {run.run.folder} differ in {', '.join(differing)}; "
                f"train or take runs that do not"
            )


def grouped(runs: Iterable[Measured]) -> list[Group]:
    """Put runs together whose recipes are the same but for the seed."""
    groups: dict[str, Group] = {}
    for run in runs:
        recipe = {k: v for k, v in flat(run.run.recipe) if k not in ("seed", "run", WORKERS)}
        key = json.dumps(recipe, sort_keys=True)
        groups.setdefault(key, Group(run.run.folder.name, [])).runs.append(run)
    return list(groups.values())


def document(groups: Sequence[Group], split: str, command: str) -> str:
    """Write the report."""
    one = groups[0].runs[0].numbers
    parts = [
        "# Captions, and where their words look",
        f"On {one['images']:,.0f} images of the {split} split, a caption each, said freely. Made, "
        f"and made again, by `{command}`. The numbers: [report.json](report.json). Of several "
        f"seeds the mean, and in brackets the lowest and the highest.",
        "## What the captions are worth",
        table(language_rows(groups)),
    ]
    if "phrases" in one:
        parts += [
            "## Whether words look at what they name",
            table(truth_rows(groups)),
            MEANING.replace("\n", " "),
            "Word by word, pointing in the box / mass in it:",
            table(word_rows(groups)),
        ]
    return "\n\n".join(parts) + "\n"


def language_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Give a row for each group, and one for each way to get captions for nothing."""
    one = groups[0].runs[0].numbers
    shown = {k: x for k, x in LANGUAGE.items() if any(group.values(k) for group in groups)}
    rows = [["", "runs", "training s", *(heading for heading, _ in shown.values())]]
    for group in groups:
        seconds = cell([train_seconds(run.run) or 0.0 for run in group.runs], "{:,.0f}".format)
        scores = (
            cell([factor * x for x in group.values(name)], "{:.1f}".format)
            for name, (_, factor) in shown.items()
        )
        rows.append([title(group.name), f"{len(group.runs)}", seconds, *scores])
    for prefix, name in FREE.items():
        found = {k: one[f"{prefix}_{k}"] for k in shown if f"{prefix}_{k}" in one}
        scores = (
            f"{factor * found[k]:.1f}" if k in found else "" for k, (_, factor) in shown.items()
        )
        if found:
            rows.append([f"*{name}*", "", "", *scores])
    return rows


def truth_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Give a row for each group: looks of noun phrases against boxes and masks."""
    rows = [["", "phrases", *TRUTH.values()]]
    for group in groups:
        phrases = f"{sum(group.values('phrases')):,.0f}"
        cells = (cell(group.values(name), "{:.3f}".format) for name in TRUTH)
        rows.append([title(group.name), phrases, *cells])
    return rows


def word_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Give a row for each group: looks of the words of noun phrases, one by one."""
    rows = [["", *ROLES]]
    for group in groups:
        cells = []
        for role in ROLES:
            numbers = (group.values(f"{name}_{role}") for name in ("pointing", "mass_in_box"))
            means = [cell(values, "{:.3f}".format, spread=False) for values in numbers if values]
            cells.append(" / ".join(means))
        rows.append([title(group.name), *cells])
    return rows


def cell(values: Sequence[float], write: Callable[[float], str], *, spread: bool = True) -> str:
    """Write the mean and, of several values, the lowest and the highest."""
    if not values:
        return ""
    mean = write(sum(values) / len(values))
    if len(values) == 1 or not spread:
        return mean
    return f"{mean} ({write(min(values))}-{write(max(values))})"


def _deciding(run: Run) -> dict[str, Any]:
    return {k: v for k, v in flat(run.recipe) if k.startswith(SAME) and k != WORKERS}
