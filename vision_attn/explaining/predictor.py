"""One batch of images: read and prepared in a thread, answered and drawn on by the network."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vision_attn.data.batch import Problem
from vision_attn.explain.contract import Images
from vision_attn.explain.methods import METHODS, SIGNED
from vision_attn.explaining.columns import check_known
from vision_attn.explaining.networks import Loaded, explainable, probabilities
from vision_attn.explaining.sources import Files, Split, View
from vision_attn.report.cost import at_rest
from vision_attn.report.export import enlarged, write_overlay
from vision_attn.spec import Spec


class Ready(NamedTuple):
    """A batch as it comes from a thread."""

    places: Sequence[int]
    """Of its images in the source."""
    lines: list[dict[str, Any]]
    """What is known of each image: path and label, or path and the reason why it has no answer."""
    images: Images | None
    """Those without such a reason; None if there are none."""


class Reader:
    """Read and prepare batches of a source; threads may share it."""

    def __init__(self, source: Files | Split, spec: Spec):
        self.source, self.spec = source, spec

    def __call__(self, places: Sequence[int]) -> Ready:
        """Prepare the images at some places."""
        lines: list[dict[str, Any]] = []
        views: list[View] = []
        for place in places:
            item = self.source[place]
            try:
                if isinstance(item, Problem):
                    raise ValueError(item.reason)
                views += item.prepare([self.spec]).views
                label = "" if item.label is None else self.spec.names[item.label]
                lines.append({"path": item.path, "label": label})
            except ValueError as error:
                lines.append({"path": item.path, "reason": str(error)})
        return Ready(places, lines, torch.stack(views) if views else None)


class Predictor:
    """Answer batches with the `top_k` likeliest classes, drawing where the network looked."""

    def __init__(self, loaded: Loaded, device: torch.device, top_k: int):
        self.loaded, self.device, self.top_k = loaded, device, top_k

    def lines(self, batch: Ready, draw: "Drawing | None") -> list[dict[str, Any]]:
        """Add to what is known of the images what the network says."""
        good = [place for place, line in enumerate(batch.lines) if "reason" not in line]
        if batch.images is None:
            return batch.lines
        images = batch.images.to(self.device)
        answers, shares = self._answers(images)
        for place, numbers, row in zip(good, answers.tolist(), shares.tolist(), strict=True):
            batch.lines[place] |= self._columns(numbers, row)
        if draw:
            files = [draw.file(batch.places[x], batch.lines[x]["path"]) for x in good]
            draw(images, answers[:, 0], files)
            for place, file in zip(good, files, strict=True):
                batch.lines[place]["saliency"] = str(file)
        return batch.lines

    def _answers(self, images: Images) -> tuple[Tensor, Tensor]:
        with at_rest(self.loaded.model):
            logits = self.loaded.model(images)
        found = probabilities(logits, self.loaded.spec).topk(self.top_k)
        return found.indices.cpu(), found.values.cpu()

    def _columns(self, numbers: Sequence[int], shares: Sequence[float]) -> dict[str, Any]:
        names = [self.loaded.spec.names[number] for number in numbers]
        return dict(zip(answer_columns(self.top_k), _taking_turns(names, shares), strict=True))


def answer_columns(top_k: int) -> Iterator[str]:
    """Name the columns of the answers: class, probability, class_2, probability_2 and so on."""
    for rank in range(1, top_k + 1):
        ending = f"_{rank}" if rank > 1 else ""
        yield f"class{ending}"
        yield f"probability{ending}"


def _taking_turns(names: Sequence[str], shares: Sequence[float]) -> list[Any]:
    return [part for pair in zip(names, shares, strict=True) for part in pair]


class Drawing:
    """Lay the map of a method over images, for the class that each is taken for.

    Raises ValueError if the method is unknown, or undefined for the network.
    """

    def __init__(self, loaded: Loaded, device: torch.device, method: str, folder: Path):
        check_known("--saliency", [method], list(METHODS))
        self.network = explainable(loaded, device)
        self.method, self.folder = method, folder
        if reason := self.network.refusal(METHODS[method]):
            raise ValueError(f"--saliency: {method} is undefined for {loaded.name}: {reason}")

    def file(self, place: int, path: str) -> Path:
        """Name the overlay of an image, unlike any other's."""
        return self.folder / f"{place:06d}-{Path(path).stem}.png"

    def __call__(self, images: Images, answers: Tensor, files: Sequence[Path]) -> None:
        """Write the overlays of a batch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        signed = self.method in SIGNED
        maps = METHODS[self.method](self.network.model, images, answers.to(images.device))
        found = enlarged(images.cpu(), maps.cpu(), self.network.spec, signed)
        for file, picture, stretch in zip(files, *found, strict=True):
            write_overlay(file, picture, stretch, signed)
