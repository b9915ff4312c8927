"""A run judged by held-out images of its own data, or by other data; `vision-attn evaluate`."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.commands.held_out import open_data, take
from vision_attn.commands.other_data import open_others
from vision_attn.data.batch import Problem
from vision_attn.data.caption_baselines import free_rows
from vision_attn.data.caption_config import CaptionsConfig, SceneCaptionsConfig
from vision_attn.data.loader import share
from vision_attn.data.splits import SplitName
from vision_attn.engine.distributed import find
from vision_attn.engine.run import fresh, replace
from vision_attn.language.meteor_program import meteor_program
from vision_attn.recipe import Recipe
from vision_attn.recorded import CONFIG, open_run, read_past, recipe_of
from vision_attn.report.captioners import Measured, compare_captioners
from vision_attn.report.evaluation import MISTAKES, Held, evaluation
from vision_attn.report.measure import Subject
from vision_attn.report.tag_evaluation import tag_evaluation
from vision_attn.spec import Spec
from vision_attn.trained import load_model

MAPS = {
    "vit": ("grad_cam", "rollout", "relevance"),
    "resnet": ("grad_cam",),
    "glimpse": ("glimpses",),
}
"""What explains a network of each kind, unless the user says otherwise."""
ORIGIN = "data.txt"
"""Says beside a report on other data where these lie."""


class Evaluated(NamedTuple):
    """What an evaluation found."""

    judges: str
    """The split, or the name of other data."""
    numbers: dict[str, float]
    report: Path | None
    left_out: int = 0
    """Images of other data that could not judge; problems.jsonl beside the report lists them."""


def measure(
    folder: Path,
    *overrides: str,
    split: SplitName | None = None,
    batch_size: int = 256,
    device: str = "auto",
) -> Evaluated:
    """Measure the best weights of a run on a split of its data, and keep the numbers beside them.

    `overrides` change the recipe, for data that has moved or another search. `split` is that of the
    test, or of validation where the data has no other, unless given. Captions of images come with
    the scores of what costs nothing: a constant caption, a neighbour's, another person's, all of
    them also by METEOR's own program where it is installed. Writes evaluation-SPLIT.json, unless a
    setting of the task is overridden: that file is of the recipe's own. Raises ValueError if the
    data's preprocessing is not the one the weights were trained with.
    """
    recipe = recipe_of(folder, *overrides)
    model, spec = load_model(folder)
    data = open_data(recipe, spec)
    split, source, _ = take(data, split, folder)
    task: Any = recipe.task.build(model, spec).to(find(device).device)
    batches = share(source, batch_size, workers=recipe.data.workers)
    if isinstance(recipe.data, CaptionsConfig | SceneCaptionsConfig):
        train: Any = data.train
        with meteor_program() as meteor:
            numbers = task.evaluate(batches, meteor)
            rows = free_rows(train, source, meteor)
        numbers |= {f"{row}_{name}": x for row, own in rows.items() for name, x in own.items()}
    else:
        numbers = task.evaluate(batches)
    if not any(_section(word) == "task" for word in overrides):
        _keep(numbers, folder, split)
    return Evaluated(split, numbers, None)


class _Judges(NamedTuple):
    """Images that judge a run, of its own data or of other data."""

    name: str
    """The split, or the name of other data."""
    held: Held
    place: str
    """Where reports on them lie in the folder evaluation of the run."""
    left_out: list[Problem]
    origin: Path | None = None
    """Where other data lie."""


def evaluate(
    folder: Path,
    *overrides: str,
    data: Sequence[str] = (),
    split: SplitName | None = None,
    out: Path | None = None,
    methods: Sequence[str] | None = None,
    mistakes: int | None = None,
    batch_size: int = 256,
    device: str = "auto",
) -> Evaluated:
    """Evaluate a run in a report; where it tells labels, judge it in full.

    Judged by its own data, or by other `data` as `open_others` takes them. Written to `out`, by
    default the folder evaluation/SPLIT of the run, for other data evaluation/on-NAME. The
    temperature, or the thresholds of several labels, are fitted on the validation images for the
    test split; other data take them over. The `mistakes` that cost the most, by default 48, are
    explained by `methods`, by default those of `MAPS`. Else as `measure`. Raises ValueError for
    what a run of its kind cannot heed.
    """
    recipe = read_past(folder / CONFIG) if data else recipe_of(folder, *overrides)
    captions = recipe.task.name == "captioning"
    _hold_heeded(overrides, ("data", "task") if captions else ("data",))
    if captions:
        _hold_unjudged(data, methods, mistakes)
        pictured = isinstance(recipe.data, CaptionsConfig | SceneCaptionsConfig)
        if out and not pictured:
            raise ValueError(
                f"--out is for reports, and sentences have none, got {out}; leave it out"
            )
        found = measure(folder, *overrides, split=split, batch_size=batch_size, device=device)
        return _told_beside(found, folder, overrides, out) if pictured else found
    model, spec = load_model(folder)
    if data:
        judges = _others(folder, data, overrides, spec, split, out, batch_size)
    else:
        judges = _own(folder, recipe, spec, split, batch_size)
    held, mistakes = judges.held, MISTAKES if mistakes is None else mistakes
    if out is None:
        out = folder / "evaluation" / judges.place
        _hold_same(out / ORIGIN, judges.origin)
    again = ["vision-attn", "evaluate", str(folder), *data, *overrides]
    again += ["--split", held.split] if split or not data else []
    again += ["--out", str(out), "--mistakes", str(mistakes)]
    again += ["--methods", ",".join(methods)] if methods else []
    chosen = tuple(methods or MAPS[recipe.model.name])
    subject = Subject(
        folder.resolve().name, open_run(folder), model.to(find(device).device), chosen
    )
    judge = tag_evaluation if spec.several else evaluation
    numbers = judge(subject, held, out, command=shlex.join(again), most=mistakes)
    if recipe.task.name == "glimpse":
        numbers |= recipe.task.build(model, spec).evaluate(held.batches)
    if not data:
        _keep(numbers, folder, held.split)
    if judges.origin:
        replace(out / ORIGIN, f"{judges.origin}\n")
    told = "".join(json.dumps(one._asdict()) + "\n" for one in judges.left_out)
    replace(out / "problems.jsonl", told)
    return Evaluated(judges.name, numbers, out / "report.md", len(judges.left_out))


def _section(override: str) -> str:
    return override.partition("=")[0].partition(".")[0]


def _hold_heeded(overrides: Sequence[str], sections: Sequence[str]) -> None:
    """Raise ValueError for a setting of a section that this evaluation does not read."""
    for word in overrides:
        if _section(word) not in sections:
            raise ValueError(
                f"this evaluation reads settings of {' and '.join(sections)} alone, got {word}; "
                f"leave it out"
            )


def _hold_unjudged(
    data: Sequence[str], methods: Sequence[str] | None, mistakes: int | None
) -> None:
    """Raise ValueError for what only networks that tell labels are judged by."""
    given = [*data]
    given += [] if methods is None else ["--methods", ",".join(methods)]
    given += [] if mistakes is None else ["--mistakes", str(mistakes)]
    if given:
        raise ValueError(
            f"DATA, --methods and --mistakes are for networks that tell labels, and this run says "
            f"captions, got {shlex.join(given)}; leave them out"
        )


def _told_beside(
    found: Evaluated, folder: Path, overrides: Sequence[str], out: Path | None
) -> Evaluated:
    """Write what was found of captions of images beside what costs nothing, chance and uniform."""
    out = folder / "evaluation" / found.judges if out is None else out
    again = ["vision-attn", "evaluate", str(folder), *overrides]
    again += ["--split", found.judges, "--out", str(out)]
    own = Measured(open_run(folder.resolve()), found.numbers)
    report = compare_captioners([own], out, split=found.judges, command=shlex.join(again))
    return found._replace(report=report)


def _hold_same(kept: Path, origin: Path | None) -> None:
    """Raise ValueError if a report is on data that lie elsewhere, and only their names agree."""
    if kept.exists() and (earlier := kept.read_text().strip()) != str(origin):
        raise ValueError(
            f"{kept.parent} holds a report on {earlier}, got {origin}; choose another folder by "
            f"--out, or delete that report"
        )


def _keep(numbers: dict[str, float], folder: Path, split: str) -> None:
    replace(folder / f"evaluation-{split}.json", json.dumps(numbers, indent=2) + "\n")


def _own(
    folder: Path, recipe: Recipe, spec: Spec, split: SplitName | None, batch_size: int
) -> _Judges:
    data, workers = open_data(recipe, spec), recipe.data.workers
    split, source, words = take(data, split, folder)
    held = Held(
        split=split,
        source=source,
        words=words,
        batches=share(source, batch_size, workers=workers),
        fitting=None if split == "valid" else share(data.valid, batch_size, workers=workers),
    )
    return _Judges(split, held, split, [])


def _others(
    folder: Path,
    data: Sequence[str],
    overrides: Sequence[str],
    spec: Spec,
    split: SplitName | None,
    out: Path | None,
    batch_size: int,
) -> _Judges:
    own = [folder, *([out] if out else [])]
    others = open_others(data, overrides, spec, folder, split=split, own=own)
    fitted = fresh(folder, "evaluation/test/numbers.json")
    held = Held(
        split=others.split,
        source=others.source,
        words=others.words,
        batches=share(others.source, batch_size, workers=others.workers),
        fitting=None,
        of=others.name,
        fitted=fitted.parent if fitted else None,
    )
    return _Judges(others.name, held, f"on-{others.name}", others.left_out, others.origin)
