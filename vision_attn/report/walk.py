"""What a moving eye did on a set of images: where it went, what it saw, what it answered."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vision_attn.data.batch import Labelled
from vision_attn.explain.contract import Images
from vision_attn.report.cost import at_rest
from vision_attn.tape import Tape

BORDER = 0.95
"""A place this far from the middle, or farther, in x or y, counts as at the border."""


class Walk(NamedTuple):
    """Glimpses at a batch of images, step by step."""

    centres: Float[Tensor, "batch step xy"]
    """In [-1, 1]: x right, y down."""
    extents: Float[Tensor, "batch step xy"]
    """Width and height of the finest patch, where the image is 2 by 2."""
    patches: Float[Tensor, "batch step channel row column"]
    """The scales one after the other, each with all channels."""
    answers: Float[Tensor, "batch step output"]
    """Probabilities after each glimpse."""
    taken: Int[Tensor, " batch"]
    """Glimpses until the network had enough; all of them where it never stops early."""


def walk(model: nn.Module, images: Images) -> Walk:
    """Let the eye look at images as in evaluation; ValueError for a network without one."""
    tape = Tape()
    with at_rest(model):
        model(images, tape=tape)
    if not tape.answers:
        raise ValueError(
            "a walk needs a network that takes glimpses, and this one took none; name a run of "
            "model.name=glimpse"
        )
    steps = len(tape.answers)
    taken = torch.full((len(images),), steps)
    if tape.stops:
        going = (1 - torch.stack(tape.stops, 1)).cumprod(1)[:, :-1]
        taken = 1 + (going >= 0.5).sum(1).cpu()
    lists = (tape.centres, tape.extents, tape.patches)
    centres, extents, patches = (torch.stack(entries, 1).float().cpu() for entries in lists)
    answers = torch.stack(tape.answers, 1).float().softmax(-1).cpu()
    return Walk(centres, extents, patches, answers, taken)


class Habits(NamedTuple):
    """What the eye does over a whole set."""

    centres: Float[Tensor, "image step xy"]
    hits: Int[Tensor, " step"]
    """Right answers after each glimpse."""
    taken: Int[Tensor, " image"]

    @property
    def visited(self) -> Bool[Tensor, "image step"]:
        """Tell which glimpses were taken before the network had enough."""
        return torch.arange(self.centres.shape[1]) < self.taken[:, None]

    @property
    def borders(self) -> Float[Tensor, " step"]:
        """Give the share of visited places that lie at the border, for every glimpse."""
        return self._far.sum(0) / self.visited.sum(0).clamp_min(1)

    @property
    def border(self) -> float:
        """Give the share of visited places after the first that lie at the border."""
        return (self._far[:, 1:].sum() / self.visited[:, 1:].sum().clamp_min(1)).item()

    @property
    def _far(self) -> Bool[Tensor, "image step"]:
        return self.visited & (self.centres.abs().amax(-1) >= BORDER)


def habits(model: Any, batches: Iterable[Labelled]) -> Habits:
    """Follow the eye over a whole split."""
    device = next(model.parameters()).device
    parts = []
    for images, labels in batches:
        found = walk(model, images.to(device))
        hits = (found.answers.argmax(-1) == labels[:, None]).sum(0)
        parts.append(Habits(found.centres, hits, found.taken))
    return Habits(
        torch.cat([part.centres for part in parts]),
        torch.stack([part.hits for part in parts]).sum(0),
        torch.cat([part.taken for part in parts]),
    )


class _Noting(list):
    """Note the operations so far whenever an answer is given."""

    def __init__(self, counter: FlopCounterMode):
        super().__init__()
        self.counter = counter
        self.counts: list[int] = []

    def append(self, entry: Tensor) -> None:
        super().append(entry)
        self.counts.append(self.counter.get_total_flops())


def multiply_adds(model: nn.Module, image: Images) -> list[int]:
    """Count the multiply-adds for one image up to each answer, in matrix products alone.

    A network without glimpses has one answer, and convolutions count, too. Cutting out patches
    takes a few additions for each of their pixels and is left out.
    """
    with at_rest(model), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        tape = Tape(answers=(noting := _Noting(counter)))
        model(image[:1], tape=tape)
        total = counter.get_total_flops()
    return [count // 2 for count in noting.counts] or [total // 2]
