"""Predict the classes of any number of images: a table with a row an image."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from vision_attn.engine.distributed import find
from vision_attn.explaining.ahead import cores
from vision_attn.explaining.journal import Journal
from vision_attn.explaining.networks import load
from vision_attn.explaining.predictor import Drawing, Predictor, Reader, answer_columns
from vision_attn.explaining.sources import open_source
from vision_attn.explaining.tables import check_format, write_table
from vision_attn.report.digest import of_bytes, of_model

GUESSES = 5
"""Classes of each image unless the user says otherwise, or the network tells fewer."""


class Outcome(NamedTuple):
    """Tell what came of the images."""

    images: int
    finished: int
    """Those of them that an earlier call, cut short, had been done with."""
    problems: int
    """Those of them that could not be used."""
    listed: Path
    """The file that lists the problems."""


def predict(
    model: str,
    sources: Sequence[str],
    out: Path,
    *,
    top_k: int | None = None,
    saliency: str | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    device: str = "auto",
    random_weights: bool = False,
) -> Outcome:
    """Write the likeliest classes of every image to `out`: a .csv, .jsonl or .parquet file.

    Threads read and decode: `workers`, by default a core each.
    What cannot be used is listed in NAME.problems.jsonl beside NAME.csv; overlays of the `saliency`
    method, for the likeliest class, go to NAME-saliency. A call that was cut short goes on when it
    is made again and no file has changed. Raises ValueError for what the user can mend, also if no
    image could be used.
    """
    check_format(out)
    place = find(device).device
    loaded = load(model, place, random_weights=random_weights)
    top_k = _checked(top_k, len(loaded.spec.names))
    folder = out.with_name(f"{out.stem}-saliency")
    drawing = Drawing(loaded, place, saliency, folder) if saliency else None
    kept = out.with_name(f"{out.name}.journal")
    source = open_source(sources, loaded.spec, [out, folder, kept, _listed(out)])
    count = min(len(source), limit or len(source))
    paths = "\n".join(map(_stamp, source.paths[:count], source.files[:count]))
    about = {"model": of_model(loaded.model), "top_k": top_k, "saliency": saliency}
    out.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(kept, about | {"images": of_bytes(os.fsencode(paths))})
    reader, predictor = Reader(source, loaded.spec), Predictor(loaded, place, top_k)
    with tqdm(total=count, initial=journal.length, unit="image", disable=None) as bar:
        spans = _spans(journal.length, count, batch_size)
        for batch in reader.batches(spans, cores() if workers is None else workers, place):
            journal.append(predictor.lines(batch, drawing))
            bar.update(len(batch.places))
    problems = _finish(out, _columns(top_k, source.labelled, bool(saliency)), journal)
    kept.unlink()
    return Outcome(count, journal.length, problems, _listed(out))


def _checked(top_k: int | None, outputs: int) -> int:
    if top_k is None:
        return min(GUESSES, outputs)
    if not 1 <= top_k <= outputs:
        raise ValueError(f"--top-k must be in [1, {outputs}], got {top_k}")
    return top_k


def _columns(top_k: int, labelled: bool, drawn: bool) -> dict[str, type]:
    columns: dict[str, type] = {"path": str}
    if labelled:
        columns["label"] = str
    for name in answer_columns(top_k):
        columns[name] = str if name.startswith("class") else float
    return columns | ({"saliency": str} if drawn else {})


def _stamp(path: Path | str, file: Path | str) -> str:
    """Name an image, with what changes when the file that keeps it does."""
    try:
        about = os.stat(file)
    except OSError:
        return str(path)
    return f"{path} {about.st_size} {about.st_mtime_ns}"


def _spans(start: int, stop: int, size: int) -> Iterator[range]:
    for first in range(start, stop, size):
        yield range(first, min(first + size, stop))


def _listed(out: Path) -> Path:
    return out.with_name(f"{out.stem}.problems.jsonl")


def _finish(out: Path, columns: dict[str, type], journal: Journal) -> int:
    """Write table and list of problems from the journal, and count the problems."""
    problems = sum("reason" in line for line in journal)
    bad = (line for line in journal if "reason" in line)
    write_table(_listed(out), {"path": str, "reason": str}, bad)
    if problems == sum(1 for _ in journal):
        first = islice((line for line in journal if "reason" in line), 5)
        reasons = "".join(f"\n  {line['path']}: {line['reason']}" for line in first)
        journal.path.unlink()
        raise ValueError(f"none of {problems} images could be used; the first are{reasons}")
    write_table(out, columns, (line for line in journal if "reason" not in line))
    return problems
