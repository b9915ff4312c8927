"""The worst mistakes of a network, exported with maps for the wrong answer and for the truth."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vision_attn.explain.contract import Images
from vision_attn.explain.methods import AGNOSTIC, METHODS, settings
from vision_attn.report.answers import Answers
from vision_attn.report.cost import at_rest
from vision_attn.report.digest import of_bytes, of_model
from vision_attn.report.export import Batch, Explained, export
from vision_attn.report.measure import Subject

AT_ONCE = 8
"""Images that are explained together."""


class Shown(Protocol):
    """An image on the page, and the classes that its maps are for."""

    @property
    def name(self) -> str:
        """Name its files in the export."""

    @property
    def place(self) -> int:
        """Say where in the split it is."""

    @property
    def wanted(self) -> dict[str, int]:
        """Number the classes, by what they are to the image, the foremost one first."""


class Mistake(NamedTuple):
    """Name an image and what the network said of it."""

    name: str
    """Of its files in the export."""
    path: str
    """Of the image file; its place in the split where the set is not made of files."""
    place: int
    pair: tuple[int, int]
    """The numbers of its class and of the answer."""
    label: str
    answer: str
    probability: float
    """Of the answer."""
    of_label: float
    """The probability of the true class."""

    @property
    def wanted(self) -> dict[str, int]:
        """Number the classes that maps are for."""
        label, answer = self.pair
        return {"predicted": answer, "label": label}

    @property
    def right(self) -> bool:
        """Tell an answer that is right, but unsure."""
        return self.pair[0] == self.pair[1]


def worst(
    answers: Answers, names: Sequence[str], source: Any, split: str, most: int
) -> list[Mistake]:
    """Find the mistakes that cost the most; where there are none, the least sure answers."""
    losses = answers.losses
    if not answers.right.all():
        losses = losses.where(~answers.right, -1)
        most = min(most, int((~answers.right).sum()))
    found = []
    for rank, index in enumerate(losses.topk(min(most, len(losses))).indices.tolist(), start=1):
        chances = answers.logits[index].double().softmax(-1)
        label, answer = int(answers.labels[index]), int(answers.given[index])
        path = path_of(source, index, split)
        found.append(
            Mistake(
                name=f"{rank:03d}-{Path(path).stem}",
                path=path,
                place=index,
                pair=(label, answer),
                label=names[label],
                answer=names[answer],
                probability=chances[answer].item(),
                of_label=chances[label].item(),
            )
        )
    return found


def path_of(source: Any, index: int, split: str) -> str:
    """Name the file of an image; its place in the split where the set is not made of files."""
    file = source.file(index) if hasattr(source, "file") else None
    return f"{split}-{index:05d}" if file is None else str(file)


def explain_mistakes(
    subject: Subject, mistakes: Sequence[Shown], source: Any, folder: Path
) -> None:
    """Write maps of every method to a folder, in the place of earlier ones."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    known, spec = of_model(subject.model), subject.run.spec
    starts = range(0, len(mistakes), AT_ONCE)
    for start in tqdm(starts, desc="maps of mistakes", unit="batch", delay=1, disable=None):
        chosen = mistakes[start : start + AT_ONCE]
        indices = [mistake.place for mistake in chosen]
        images, labels = source.__getitems__([(0, index) for index in indices])
        batch = Batch(
            images=images,
            names=[mistake.name for mistake in chosen],
            hashes=[of_bytes(image.numpy().tobytes()) for image in images],
            spec=spec,
            labels=None if spec.several else labels,
            masks=source.masks(indices) if hasattr(source, "masks") else None,
        )
        logits = _asked(subject, images)
        maps = list(_maps(subject, known, images, chosen))
        outputs = {subject.name: logits.sigmoid() if spec.several else logits.softmax(-1)}
        export(maps, batch, folder, outputs=outputs, grids=False, overlays=False)


def _asked(subject: Subject, images: Images) -> Float[Tensor, "batch output"]:
    with at_rest(subject.model):
        return subject.model(images.to(subject.device)).float().cpu()


def _maps(
    subject: Subject, known: str, images: Images, chosen: Sequence[Shown]
) -> Iterator[Explained]:
    """Explain the foremost class and, where the method tells classes apart, the others too."""
    model: Any = subject.model
    parts = {what: torch.tensor([one.wanted[what] for one in chosen]) for what in chosen[0].wanted}
    foremost = next(iter(parts))
    for method in subject.methods:
        for what in [foremost] if method in AGNOSTIC else parts:
            targets = parts[what].to(subject.device)
            maps = METHODS[method](model, images.to(subject.device), targets)
            yield Explained(
                model=subject.name,
                model_hash=known,
                method=method,
                maps=torch.as_tensor(maps).cpu(),
                targets=parts[what],
                part="" if what == foremost else what,
                settings=settings(METHODS[method]) | {"target": what},
            )
