"""Explain any number of images, a batch at a time, into a folder that can be added to."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from vision_attn.checking.settings import nearest
from vision_attn.data.batch import Problem
from vision_attn.engine.distributed import find
from vision_attn.engine.run import replace
from vision_attn.explain.methods import METRICS, settings
from vision_attn.explaining.networks import Network, open_networks
from vision_attn.explaining.sources import Item, open_source
from vision_attn.explaining.wanted import Want, wants
from vision_attn.explaining.writing import EXPLAINERS, Column, Seen, write
from vision_attn.report.index import finished, index, key, write_scores
from vision_attn.report.page import page

ATTENTION = frozenset(
    {
        "attention",
        "rollout",
        "rollout_max",
        "gradient_rollout",
        "relevance",
        "attention_gradient",
        "attention_flow",
    }
)
"""Methods that follow attention over patches, and so are undefined for some networks."""
USUAL = ("grad_cam", "rollout", "relevance")
"""What explains a network, as far as defined, unless the user says otherwise."""
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
    _check_known("--methods", methods or (), EXPLAINERS)
    _check_known("--scores", scores, METRICS)
    _check_known("--formats", formats, FORMATS)
    names = [model] if against is None else [model, against]
    networks = open_networks(names, find(device).device, random_weights=random_weights)
    specs = [network.spec for network in networks]
    _check_folder(out, networks)
    source = open_source(sources, specs[0], out)
    wanted = wants(targets, top_k, specs[0].names, labelled=source.labelled)
    defined, remarks = _defined(networks, methods)
    columns = [
        Column(network, method, want, _settings(network, method, want, scores))
        for network, chosen in zip(networks, defined, strict=True)
        for method in chosen
        for want in wanted
    ]
    metrics = {name: METRICS[name] for name in scores}
    intake = Intake(out, columns)
    with tqdm(source, total=len(source), unit="image", disable=None) as bar:
        for batch in _batches(intake.new(bar), batch_size):
            write(columns, batch, out, metrics, formats)
    _list_problems(out, intake.problems, len(source))
    write_scores(out)
    heading = f"Where {' and '.join(x.name.replace('_', ' ') for x in networks)} look"
    report = page(out, heading=heading) if "page" in formats else None
    return Outcome(intake.explained, intake.finished, intake.problems, remarks, report)


class Intake:
    """Let through the images that are not explained yet, and keep account of all others."""

    def __init__(self, out: Path, columns: Sequence[Column]):
        self.columns = columns
        self.explained = self.finished = 0
        self.problems: list[Problem] = []
        self._done = finished(out)
        self._names = {line["image"]: line["image_hash"] for line in index(out)}

    def new(self, items: Iterable[Item | Problem]) -> Iterator[Seen]:
        """Prepare images for every network, one at a time."""
        specs = list({column.network.name: column.network.spec for column in self.columns}.values())
        for item in items:
            if isinstance(item, Problem):
                self.problems.append(item)
                continue
            content = item.hash
            keys = {key(content, x.network.hash, x.method, x.settings) for x in self.columns}
            if keys <= self._done:
                self.finished += 1
                continue
            try:
                views = item.views(specs)
            except ValueError as error:
                self.problems.append(Problem(item.path, str(error)))
                continue
            self._done |= keys
            self.explained += 1
            yield Seen(self._name(item.name, content), content, item, views)

    def _name(self, name: str, content: str) -> str:
        """Tell files of one name and different content apart."""
        if self._names.setdefault(name, content) != content:
            name = f"{name}-{content}"
            self._names[name] = content
        return name


def _batches(entries: Iterator[Entry], size: int) -> Iterator[list[Entry]]:
    while batch := list(islice(entries, size)):
        yield batch


def _settings(network: Network, method: str, want: Want, scores: Sequence[str]) -> dict:
    """List all that a map and its scores depend on, beside image, network and method."""
    seen = asdict(network.spec)
    del seen["names"]
    found = settings(EXPLAINERS[method]) | {"target": want.words} | seen
    found |= {name: settings(METRICS[name]) for name in scores}
    return found | ({"weights": "random"} if network.random else {})


def _defined(
    networks: Sequence[Network], methods: Sequence[str] | None
) -> tuple[list[list[str]], list[str]]:
    """Give the methods that each network takes, and remarks on those that not all of them do.

    Raises ValueError for a method that no network takes, and a network that takes none.
    """
    chosen = list(dict.fromkeys(methods or USUAL))
    defined = [[x for x in chosen if n.grid is not None or x not in ATTENTION] for n in networks]
    if methods is None:
        return defined, []
    remarks = [
        f"{method} is undefined for {network.name}: {network.refusal}"
        for network, own in zip(networks, defined, strict=True)
        for method in chosen
        if method not in own
    ]
    if not all(defined) or set(chosen) - {method for own in defined for method in own}:
        raise ValueError("\n".join(remarks))
    return defined, remarks


def _check_known(option: str, chosen: Sequence[str], known: Iterable[str]) -> None:
    for name in chosen:
        if name not in (names := list(known)):
            near = nearest(name, names)
            hint = f"did you mean {near}?" if near else f"choose from {', '.join(names)}"
            raise ValueError(f"{option}: there is no {name}; {hint}")


def _check_folder(out: Path, networks: Sequence[Network]) -> None:
    """Refuse a folder with maps of other networks, whose answers would be written over."""
    hashes = {network.hash for network in networks}
    others = sorted({line["model"] for line in index(out) if line["model_hash"] not in hashes})
    if others:
        raise ValueError(
            f"{out} holds maps of other networks or weights ({', '.join(others)}); give another "
            f"--out, or explain both networks in one call: --against"
        )


def _list_problems(out: Path, problems: Sequence[Problem], count: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    replace(out / "problems.jsonl", "".join(json.dumps(x._asdict()) + "\n" for x in problems))
    if not index(out):
        reasons = "".join(f"\n  {problem.path}: {problem.reason}" for problem in problems[:5])
        raise ValueError(f"none of {count} images could be used; the first are{reasons}")
