"""Caption any images: lines on the terminal and in captions.jsonl, figures, a page, raw looks."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vision_attn.data.batch import Problem
from vision_attn.engine.atomic import whole
from vision_attn.engine.distributed import find
from vision_attn.engine.run import replace
from vision_attn.explain.words import points
from vision_attn.explaining.caption_drawing import drawn, measures_distance, write_distance
from vision_attn.explaining.saying import Search, Way
from vision_attn.explaining.sources import Item, open_source
from vision_attn.language.vocabulary import Vocabulary
from vision_attn.models.captioner import Captioner
from vision_attn.models.generate import Caption
from vision_attn.recorded import CONFIG, read_past
from vision_attn.report.caption_page import Shown, caption_page
from vision_attn.spec import Spec
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.trained import load_model

PAGE = 100
"""Images on the page."""


class Captioned(NamedTuple):
    """An image and its captions, the best one first."""

    image: str
    texts: list[str]
    captions: list[Caption]


def caption(
    run: Path,
    sources: Sequence[str],
    out: Path,
    *,
    way: Way = Search(),  # noqa: B008  # frozen
    limit: int | None = None,
    batch_size: int = 16,
    device: str = "auto",
) -> Iterator[Captioned | Problem]:
    """Caption every image of the sources, and write the line, figure and looks of each.

    Figures show the first caption; captions.jsonl, NAME.npz and report.html, the page of the first
    `PAGE` images, hold all of them. Sentences have alignments for figures and, instead of a page,
    distance.png. What cannot be used is given as a Problem and listed in problems.jsonl. Raises
    ValueError if the run is no captioner's, or not one image could be used.
    """
    model, spec = load_model(run)
    if not isinstance(model, Captioner):
        raise ValueError(f"{run} tells labels; vision-attn explain shows where it looks")
    task = read_past(run / CONFIG).task
    assert isinstance(task, CaptioningConfig)
    place = find(device).device
    model.to(place)
    vocabulary = Vocabulary(spec.names)
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    problems: list[Problem] = []
    items = islice(open_source(sources, spec, out), limit)
    shown: list[Shown] = []
    for number, batch in enumerate(_prepared(items, spec, problems, batch_size)):
        images = torch.stack([view for _, view in batch])
        found = way(model, images.to(place), number, task)
        if not number and measures_distance(model):
            write_distance(out / "distance.png", model, images.to(place), found)
        for (name, view), captions in zip(batch, found, strict=True):
            texts = [" ".join(vocabulary.decode(x.words)) for x in captions]
            lines.append(json.dumps(_line(name, captions, texts, vocabulary)))
            _write_looks(out / f"{name}.npz", captions)
            figure, entry = drawn(name, view, captions, model, spec)
            with whole(out / f"{name}.png") as file:
                figure.savefig(file, format="png", dpi=160)
            if entry is not None and len(shown) < PAGE:
                shown.append(entry)
            yield Captioned(name, texts, captions)
    if shown:
        caption_page(shown, out, total=len(lines))
    replace(out / "captions.jsonl", "".join(line + "\n" for line in lines))
    replace(out / "problems.jsonl", "".join(json.dumps(x._asdict()) + "\n" for x in problems))
    yield from problems
    if not lines:
        raise ValueError(f"none of the images could be used, see {out}/problems.jsonl")


def _prepared(
    items: Iterator[Item | Problem], spec: Spec, problems: list[Problem], size: int
) -> Iterator[list[tuple[str, Tensor]]]:
    """Prepare images a batch at a time; names of files that are alike get a number."""
    batch: list[tuple[str, Tensor]] = []
    seen: dict[str, int] = {}
    for item in items:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        try:
            (view,) = item.prepare([spec]).views
        except ValueError as error:
            problems.append(Problem(item.path, str(error)))
            continue
        seen[item.name] = seen.get(item.name, 0) + 1
        number = f"-{seen[item.name]}" if seen[item.name] > 1 else ""
        batch.append((item.name + number, view))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _line(
    name: str, captions: Sequence[Caption], texts: Sequence[str], vocabulary: Vocabulary
) -> dict[str, Any]:
    """Describe the captions of an image: words, and the middle of each one's look in [-1, 1]."""
    return {
        "image": name,
        "captions": [
            {
                "text": text,
                "log_prob": own.log_prob,
                "score": round(own.score, 4),
                "ended": own.ended,
                "words": [vocabulary.names[number] for number in own.words],
                "looks": [[round(x, 4) for x in point] for point in points(own).tolist()],
            }
            for own, text in zip(captions, texts, strict=True)
        ],
    }


def _write_looks(path: Path, captions: Sequence[Caption]) -> None:
    """Write words and raw looks of all captions of an image."""
    arrays: dict[str, Any] = {}
    for number, own in enumerate(captions):
        arrays[f"{number}/words"] = np.array(own.words)
        for part in ("weights", "places", "centres", "extents"):
            if (found := getattr(own, part)) is not None:
                arrays[f"{number}/{part}"] = found.cpu().numpy()
        if own.grid is not None:
            arrays[f"{number}/grid"] = np.array(own.grid)
    with whole(path) as file:
        np.savez_compressed(file, **arrays)
