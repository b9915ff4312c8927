"""What the commands do once their arguments are known."""

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vision_attn.data.caption_baselines import free_rows
from vision_attn.data.caption_config import CaptionsConfig, SceneCaptionsConfig
from vision_attn.data.loader import share
from vision_attn.data.splits import SplitName
from vision_attn.engine.distributed import find
from vision_attn.engine.run import Run, replace
from vision_attn.held_out import open_data, recipe_of, take
from vision_attn.report.captioners import Measured, compare_captioners
from vision_attn.report.compare import compare as write_report
from vision_attn.report.evaluation import MISTAKES, Held, evaluation
from vision_attn.report.glimpses import glimpse_report
from vision_attn.report.measure import Evidence, Subject
from vision_attn.trained import load_model

MAPS = {
    "vit": ("grad_cam", "rollout", "relevance"),
    "resnet": ("grad_cam",),
    "glimpse": ("glimpses",),
}
"""What explains a network of each kind, unless the user says otherwise."""


class Evaluated(NamedTuple):
    """What an evaluation found."""

    split: SplitName
    numbers: dict[str, float]
    report: Path | None


def evaluate(
    folder: Path,
    *overrides: str,
    split: SplitName | None = None,
    batch_size: int = 256,
    device: str = "auto",
) -> Evaluated:
    """Measure the best weights of a run on a split of its data, and keep the numbers beside them.

    `overrides` change the recipe, for data that has moved. `split` is that of the test, or of
    validation where the data has no other, unless given. Captions of images come with the scores
    of what costs nothing: a constant caption, a neighbour's, another person's. Writes
    evaluation-SPLIT.json. Raises ValueError if the data's preprocessing is not the one the weights
    were trained with.
    """
    recipe = recipe_of(folder, *overrides)
    model, spec = load_model(folder)
    data = open_data(recipe, spec)
    split, source, _ = take(data, split, folder)
    task = recipe.task.build(model, spec).to(find(device).device)
    numbers = task.evaluate(share(source, batch_size, workers=recipe.data.workers))
    if isinstance(recipe.data, CaptionsConfig | SceneCaptionsConfig):
        train: Any = data.train
        rows = free_rows(train, source)
        numbers |= {f"{row}_{name}": x for row, own in rows.items() for name, x in own.items()}
    replace(folder / f"evaluation-{split}.json", json.dumps(numbers, indent=2) + "\n")
    return Evaluated(split, numbers, None)


def examine(
    folder: Path,
    *overrides: str,
    split: SplitName | None = None,
    out: Path | None = None,
    methods: Sequence[str] | None = None,
    mistakes: int = MISTAKES,
    batch_size: int = 256,
    device: str = "auto",
) -> Evaluated:
    """Evaluate a run and, where it tells labels, judge it in full, in a report.

    Written to `out`, by default the folder evaluation/SPLIT of the run. The temperature of the
    test split is fitted on the validation images. The `mistakes` that cost the most are explained
    by `methods`, by default those of `MAPS`. Else as `evaluate`.
    """
    recipe = recipe_of(folder, *overrides)
    if recipe.task.name in ("captioning", "multilabel"):
        if out or methods:
            raise ValueError(
                "--out and --methods are for networks that tell one label an image; leave them out"
            )
        return evaluate(folder, *overrides, split=split, batch_size=batch_size, device=device)
    model, spec = load_model(folder)
    data = open_data(recipe, spec)
    split, source, words = take(data, split, folder)
    workers = recipe.data.workers
    place = find(device).device
    chosen = tuple(methods or MAPS[recipe.model.name])
    held = Held(
        split=split,
        source=source,
        words=words,
        batches=share(source, batch_size, workers=workers),
        fitting=None if split == "valid" else share(data.valid, batch_size, workers=workers),
    )
    out = folder / "evaluation" / split if out is None else out
    again = ["vision-attn", "evaluate", str(folder), *overrides, "--split", split]
    again += ["--out", str(out), "--mistakes", str(mistakes)]
    again += ["--methods", ",".join(methods)] if methods else []
    subject = Subject(folder.resolve().name, Run.open(folder), model.to(place), chosen)
    numbers = evaluation(subject, held, out, command=shlex.join(again), most=mistakes)
    if recipe.task.name != "classification":
        task = recipe.task.build(model, spec)
        numbers |= task.evaluate(share(source, batch_size, workers=workers))
    replace(folder / f"evaluation-{split}.json", json.dumps(numbers, indent=2) + "\n")
    return Evaluated(split, numbers, out / "report.md")


def compare(
    folders: Sequence[Path],
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    split: SplitName = "test",
    maps: int | None = None,
    device: str = "auto",
    started: float | None = None,
) -> Path:
    """Measure runs of one data set side by side, and give the report written to `out`.

    Of networks that tell labels, maps of the first `maps` images are scored (default 500);
    `methods` explain every one, by default those of `MAPS`. `started` is when all of it began, in
    seconds of `time.time()`. Of captioners, captions and looks are scored, and evaluations that are
    newer than a run's weights are not made again.
    """
    if any(recipe_of(folder).model.name == "captioner" for folder in folders):
        if methods or maps or started:
            raise ValueError(
                "--methods, --maps and --started are for networks that tell labels; leave them out"
            )
        return _compare_captioners(folders, out, split, device)
    if any(recipe_of(folder).task.name == "multilabel" for folder in folders):
        raise ValueError(
            "compare is for networks that tell one label an image; vision-attn evaluate measures "
            "each of these"
        )
    maps = 500 if maps is None else maps
    clock = time.perf_counter()
    since = clock if started is None else clock - (time.time() - started)
    place = find(device).device
    subjects, recipes = [], []
    for folder in folders:
        recipe, (model, _) = recipe_of(folder), load_model(folder)
        chosen = tuple(methods or MAPS[recipe.model.name])
        subjects.append(Subject(folder.name, Run.open(folder), model.to(place), chosen))
        recipes.append(recipe)
    source = take(open_data(recipes[0], subjects[0].run.spec), split, *folders).source
    indices = list(range(min(maps, len(source))))
    images, labels = source.__getitems__([(0, index) for index in indices])
    masks = source.masks(indices) if hasattr(source, "masks") else None
    evidence = Evidence(share(source, 256), images, labels, masks)
    again = ["vision-attn", "compare", *map(str, folders), "--out", str(out)]
    again += ["--split", split, "--maps", str(maps)]
    again += ["--methods", ",".join(methods)] if methods else []
    return write_report(subjects, evidence, out, command=shlex.join(again), since=since)


def _compare_captioners(folders: Sequence[Path], out: Path, split: SplitName, device: str) -> Path:
    for folder in folders:
        if (kind := recipe_of(folder).model.name) != "captioner":
            raise ValueError(f"captioners are compared with each other, got {folder}, a {kind}")
    runs = [Measured(Run.open(x), _evaluation(x, split, device)) for x in folders]
    again = ["vision-attn", "compare", *map(str, folders), "--out", str(out), "--split", split]
    return compare_captioners(runs, out, split=split, command=shlex.join(again))


def _evaluation(folder: Path, split: SplitName, device: str) -> dict[str, float]:
    """Read what an evaluation found, if it is newer than the weights; else evaluate."""
    kept, weights = folder / f"evaluation-{split}.json", folder / "best.safetensors"
    if kept.exists() and kept.stat().st_mtime >= weights.stat().st_mtime:
        return json.loads(kept.read_text())
    return evaluate(folder, split=split, device=device).numbers


def glimpses(
    folder: Path,
    out: Path | None = None,
    *,
    against: Sequence[Path] = (),
    split: SplitName = "test",
    images: int = 8,
    device: str = "auto",
) -> Path:
    """Report where the eye of a run goes and what each glimpse is worth, and give the report.

    Trails are drawn over the first `images` images; `against` are runs on the same data that see
    the whole image. Written to `out`, by default the folder glimpses of the run.
    """
    place = find(device).device
    subjects = [
        Subject(run.name, Run.open(run), load_model(run)[0].to(place), ())
        for run in (folder, *against)
    ]
    data = open_data(recipe_of(folder), subjects[0].run.spec)
    source = take(data, split, folder, *against).source
    chosen, labels = source.__getitems__([(0, i) for i in range(min(images, len(source)))])
    evidence = Evidence(share(source, 256), chosen, labels)
    out = folder / "glimpses" if out is None else out
    again = ["vision-attn", "glimpses", str(folder), "--out", str(out), "--split", split]
    again += [word for run in against for word in ("--against", str(run))]
    again += ["--images", str(images)]
    command = shlex.join(again)
    return glimpse_report(subjects[0], subjects[1:], evidence, out, command=command)
