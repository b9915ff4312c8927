"""Explain any number of images, a batch at a time, into a folder that can be added to."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from vision_attn.data.batch import Problem
from vision_attn.engine.distributed import find
from vision_attn.engine.run import replace
from vision_attn.explaining.columns import check_known, check_names, lay_out
from vision_attn.explaining.intake import Intake
from vision_attn.explaining.networks import Network, open_networks
from vision_attn.explaining.sources import open_source
from vision_attn.explaining.wanted import wants
from vision_attn.explaining.writing import write
from vision_attn.report.index import index, write_scores
from vision_attn.report.page import page
from vision_attn.report.summary import write_summary

FORMATS = ("overlays", "grids", "page")
"""What can be left out; raw maps, index.jsonl and scores.csv are always written."""
Entry = TypeVar("Entry")


class Outcome(NamedTuple):
    """Tell what came of the images."""

    explained: int
    finished: int
    """Explained before: by an earlier call, or as another file of the same content."""
    problems: list[Problem]
    remarks: list[str]
    report: Path | None


def explain(
    model: str,
    sources: Sequence[str],
    out: Path,
    *,
    against: str | None = None,
    methods: Sequence[str] | None = None,
    targets: Sequence[str] = ("predicted",),
    top_k: int = 1,
    scores: Sequence[str] = (),
    masks: Path | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    device: str = "auto",
    formats: Sequence[str] = FORMATS,
    random_weights: bool = False,
) -> Outcome:
    """Explain every image of the sources by one network, or by two side by side.

    Images whose maps `out` holds already are left alone; what cannot be used is listed in
    problems.jsonl there. No more than a batch of images is in memory. Raises ValueError for what
    the user can mend, also if not one image could be used.
    """
    check_known("--formats", formats, FORMATS)
    check_names(methods, scores)
    names = [model] if against is None else [model, against]
    networks = open_networks(names, find(device).device, random_weights=random_weights)
    _check_folder(out, networks)
    spec = networks[0].spec
    source = open_source(sources, spec, out, masks)
    wanted = wants(targets, top_k, spec.names, labelled=source.labelled)
    columns, remarks = lay_out(networks, methods, wanted, scores, source.masks)
    intake = Intake(out, columns)
    count = min(len(source), limit or len(source))
    with tqdm(islice(source, count), total=count, unit="image", disable=None) as bar:
        for batch in _batches(intake.new(bar), batch_size):
            write(columns, batch, out, scores, formats)
    _list_problems(out, intake.problems, count)
    write_scores(out)
    if scores:
        write_summary(out)
    heading = f"Where {' and '.join(x.name for x in networks)} look{'s' if against is None else ''}"
    report = page(out, heading=heading) if "page" in formats else None
    return Outcome(intake.explained, intake.finished, intake.problems, remarks, report)


def _batches(entries: Iterator[Entry], size: int) -> Iterator[list[Entry]]:
    while batch := list(islice(entries, size)):
        yield batch


def _check_folder(out: Path, networks: Sequence[Network]) -> None:
    """Refuse a folder with maps of other networks, whose answers would be written over."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder, got the file {out}")
    hashes = {network.name: network.hash for network in networks}
    others = sorted(
        {
            name
            for name, found in {(line["model"], line["model_hash"]) for line in index(out)}
            if hashes.get(name, found) != found or found not in hashes.values()
        }
    )
    if others:
        raise ValueError(
            f"{out} holds maps of other networks or weights ({', '.join(others)}); give another "
            f"--out, or explain both networks in one call: --against"
        )


def _list_problems(out: Path, problems: Sequence[Problem], count: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    replace(out / "problems.jsonl", "".join(json.dumps(x._asdict()) + "\n" for x in problems))
    if next(index(out), None) is None:
        reasons = "".join(f"\n  {problem.path}: {problem.reason}" for problem in problems[:5])
        raise ValueError(f"none of {count} images could be used; the first are{reasons}")
