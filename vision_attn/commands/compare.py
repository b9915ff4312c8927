"""Runs of one data set side by side; `vision-attn compare`."""

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from vision_attn.commands.evaluate import MAPS, evaluate, measure
from vision_attn.commands.views import views
from vision_attn.data.splits import SplitName
from vision_attn.engine.distributed import find
from vision_attn.engine.run import Run, fresh
from vision_attn.recorded import open_run, recipe_of
from vision_attn.report.captioners import Measured, compare_captioners
from vision_attn.report.compare import compare as write_report
from vision_attn.report.measure import Subject, check_alike
from vision_attn.report.taggers import Tagger, compare_taggers
from vision_attn.report.taggers import check_alike as check_taggers
from vision_attn.trained import load_model


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

    Of networks that tell labels, maps of the first `maps` images are scored (default 500), prepared
    for each network as in its training; `methods` explain every one, by default those of `MAPS`.
    `started` is when all of it began, in seconds of `time.time()`. Of captioners, captions and
    looks are scored, of networks that tell several labels an image each label, and evaluations that
    are newer than a run's weights are not made again.
    """
    if any(recipe_of(folder).model.name == "captioner" for folder in folders):
        if methods or maps or started:
            raise ValueError(
                "--methods, --maps and --started are for networks that tell labels; leave them out"
            )
        return _compare_captioners(folders, out, split, device)
    if any(recipe_of(folder).task.name == "multilabel" for folder in folders):
        if maps or started:
            raise ValueError(
                "--maps and --started are for networks that tell one label an image; leave them out"
            )
        return _compare_taggers(folders, out, methods, split, device)
    maps = 500 if maps is None else maps
    clock = time.perf_counter()
    since = clock if started is None else clock - (time.time() - started)
    place = find(device).device
    subjects = []
    for folder in folders:
        chosen = tuple(methods or MAPS[recipe_of(folder).model.name])
        model, _ = load_model(folder)
        subjects.append(Subject(folder.name, Run.open(folder), model.to(place), chosen))
    check_alike(subjects)
    evidence = views(folders, split, maps).evidence
    again = ["vision-attn", "compare", *map(str, folders), "--out", str(out)]
    again += ["--split", split, "--maps", str(maps)]
    again += ["--methods", ",".join(methods)] if methods else []
    return write_report(subjects, evidence, out, command=shlex.join(again), since=since)


def _compare_taggers(
    folders: Sequence[Path],
    out: Path,
    methods: Sequence[str] | None,
    split: SplitName,
    device: str,
) -> Path:
    taggers = []
    for folder in folders:
        if (kind := recipe_of(folder).task.name) != "multilabel":
            raise ValueError(
                f"networks that tell several labels an image are compared with each other, got "
                f"{folder}, whose task is {kind}"
            )
        taggers.append(Tagger(open_run(folder), folder / "evaluation" / split))
    check_taggers(taggers)
    for folder in folders:
        if not fresh(folder, f"evaluation/{split}/labels.csv"):
            evaluate(folder, split=split, methods=methods, device=device)
    again = ["vision-attn", "compare", *map(str, folders), "--out", str(out), "--split", split]
    again += ["--methods", ",".join(methods)] if methods else []
    return compare_taggers(taggers, out, split=split, command=shlex.join(again))


def _compare_captioners(folders: Sequence[Path], out: Path, split: SplitName, device: str) -> Path:
    for folder in folders:
        if (kind := recipe_of(folder).model.name) != "captioner":
            raise ValueError(f"captioners are compared with each other, got {folder}, a {kind}")
    runs = [Measured(open_run(x), _evaluation(x, split, device)) for x in folders]
    again = ["vision-attn", "compare", *map(str, folders), "--out", str(out), "--split", split]
    return compare_captioners(runs, out, split=split, command=shlex.join(again))


def _evaluation(folder: Path, split: SplitName, device: str) -> dict[str, float]:
    """Read what an evaluation found, if it is newer than the weights; else evaluate."""
    if found := fresh(folder, f"evaluation-{split}.json"):
        return json.loads(found.read_text())
    return measure(folder, split=split, device=device).numbers
