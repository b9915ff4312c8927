"""Images read and fitted in threads, answered and drawn on by the network, a batch at a time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vision_attn.data.batch import Problem
from vision_attn.data.transforms import normalise
from vision_attn.explain.contract import Images
from vision_attn.explain.methods import METHODS, SIGNED
from vision_attn.explaining.ahead import ahead, in_turn
from vision_attn.explaining.columns import check_known
from vision_attn.explaining.networks import Loaded, explainable, probabilities
from vision_attn.explaining.sources import Files, Split
from vision_attn.report.cost import at_rest
from vision_attn.report.export import enlarged, write_overlay
from vision_attn.spec import Spec


class Ready(NamedTuple):
    """An image as it comes from a thread."""

    place: int
    """In the source."""
    line: dict[str, Any]
    """What is known of it: path and label, or path and the reason why it has no answer."""
    image: Tensor | None
    """8-bit pixels, or what the data have normalised; None with such a reason."""


class Batch(NamedTuple):
    """Images to be answered together."""

    places: list[int]
    lines: list[dict[str, Any]]
    images: Tensor | None
    """Those without a reason in their line; None if there are none."""


class Reader:
    """Read images of a source and fit them to a network; threads may share it."""

    def __init__(self, source: Files | Split, spec: Spec):
        self.source, self.spec = source, spec

    def __call__(self, place: int) -> Ready:
        """Read the image at a place."""
        item = self.source[place]
        try:
            if isinstance(item, Problem):
                raise ValueError(item.reason)
            label = "" if item.label is None else self.spec.names[item.label]
            return Ready(place, {"path": item.path, "label": label}, item.fitted(self.spec))
        except ValueError as error:
            return Ready(place, {"path": item.path, "reason": str(error)}, None)

    def batches(
        self, spans: Iterable[Sequence[int]], workers: int, device: torch.device
    ) -> Iterator[Batch]:
        """Read batch after batch with some threads: ahead of an accelerator, in turn with a CPU.

        A network on the CPU computes in steps that end on all cores, so each one that decoding
        takes from it for a while holds up the others too: one after the other is faster.
        """
        if device.type == "cpu":
            return map(gathered, in_turn(self, spans, workers))
        return ahead(lambda places: gathered(list(map(self, places))), spans, workers)


def gathered(images: Sequence[Ready]) -> Batch:
    """Put images side by side."""
    good = [ready.image for ready in images if ready.image is not None]
    places, lines, _ = map(list, zip(*images, strict=True))
    return Batch(places, lines, _stacked(good) if good else None)


def _stacked(images: Sequence[Tensor]) -> Tensor:
    """Copy images into one tensor on one core: torch's others would go on waiting for more work."""
    return torch.from_numpy(np.stack([image.numpy() for image in images]))


class Predictor:
    """Answer batches with the `top_k` likeliest classes, drawing where the network looked."""

    def __init__(self, loaded: Loaded, device: torch.device, top_k: int):
        self.loaded, self.device, self.top_k = loaded, device, top_k

    def lines(self, batch: Batch, draw: "Drawing | None") -> list[dict[str, Any]]:
        """Add to what is known of the images what the network says."""
        good = [place for place, line in enumerate(batch.lines) if "reason" not in line]
        if batch.images is None:
            return batch.lines
        images = batch.images.to(self.device)
        if images.dtype == torch.uint8:
            images = normalise(images, self.loaded.spec)
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
