"""From images to captions by beam search, all images at once, every word with its look."""

from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vision_attn.attention.window import Grid
from vision_attn.language.vocabulary import END, START
from vision_attn.models.decoders import Decoder, State
from vision_attn.models.gaze import STEADY, Manner
from vision_attn.models.trace import Trace
from vision_attn.models.wording import log_probabilities

Images: TypeAlias = Float[Tensor, "batch channel height width"]

CROWDED = 0.75
"""Images whose search has closed are taken out when no more than this share is still searched:
taking one out moves the regions of all others."""


class Says(Protocol):
    """A captioner, as far as generating needs it."""

    decoder: Any

    def look_at(self, images: Images) -> Any:
        """Encode images and prepare all that looks at them need."""

    def region_grid(self, image_size: tuple[int, int]) -> Grid | None:
        """Tell the grid of regions; None where a retina looks."""


class Caption(NamedTuple):
    """One caption of one image, and where it looked before each of its words."""

    words: tuple[int, ...]
    """Numbers of its words; the last one is the end, unless it was cut."""
    log_prob: float
    """Sum over its words, the end included."""
    score: float
    """Log-probability over the length penalty, by which the captions of an image are sorted."""
    ended: bool
    """False where it was cut at the longest length."""
    weights: Float[Tensor, "word head region"] | None = None
    places: Int64[Tensor, "word head"] | None = None
    """The regions that hard looks took."""
    centres: Float[Tensor, "word xy"] | None = None
    """Of glimpses, in [-1, 1]."""
    extents: Float[Tensor, "word xy"] | None = None
    """Width and height of glimpses at their finest, where the image is 2 by 2."""
    grid: Grid | None = None
    """Rows and columns of the regions."""


class Found(NamedTuple):
    """Where a caption stands that a search has found."""

    score: float
    log_prob: float
    ended: bool
    length: int
    beam: int


@torch.no_grad()
def beam_search(
    model: Says,
    images: Images,
    *,
    beams: int = 1,
    best: int = 1,
    longest: int = 30,
    penalty: float = 0.0,
    manner: Manner = STEADY,
) -> list[list[Caption]]:
    """Give the `best` captions that a search with so many beams finds for each image; 1 is greedy.

    They are sorted by log-probability / ((5 + length) / 6) ^ `penalty`, the length counting the
    end. Captions cut after `longest` words come behind those that ended. The search for an image
    stops when nothing that is alive can still get among its best: as if it had gone on to the end.

    Length penalty: Wu 2016, equation 14 (arXiv:1609.08144).
    """
    if not 1 <= best <= beams or longest < 1 or penalty < 0:
        raise ValueError(
            f"best must be in [1, beams], longest 1 or more and penalty 0 or more, got "
            f"best={best}, beams={beams}, longest={longest} and penalty={penalty}"
        )
    decoder: Decoder = model.decoder
    sight = model.look_at(images)
    state, trace = decoder.begin(sight, 1), Trace()  # one beam, which the first word spreads
    alive = torch.arange(len(images), device=images.device)
    words = torch.full((len(images), 1), START, device=images.device)
    totals = torch.zeros(words.shape, device=images.device)
    shelf = Shelf(len(images), best, penalty)
    for length in range(1, longest + 1):
        step = decoder.step(words, state, sight, length - 1, manner)
        totals, parents, words = spread(totals, log_probabilities(step.logits), beams)
        state = select(step.state, parents)
        trace.add(alive, parents, words, step.seen)
        ends = (words == END) & totals.isfinite()
        shelf.put(alive, ends, totals, length, ended=True)
        closed = shelf.closed(alive, totals, longest)
        totals = totals.masked_fill(ends | closed.unsqueeze(1), -torch.inf)
        left = (~closed).nonzero()[:, 0]
        if not len(left):
            break
        if len(left) <= CROWDED * len(alive):
            alive, words, totals = alive[left], words[left], totals[left]
            state, sight = tuple(x[left] for x in state), sight.keep(left)
    shelf.put(alive, totals.isfinite(), totals, longest, ended=False)
    grid = model.region_grid((images.shape[-2], images.shape[-1]))
    return [
        [_read(trace, image, found, grid) for found in shelf.best_of(image)]
        for image in range(len(images))
    ]


class Shelf:
    """Keep the captions that were found, and know which images can find no better ones."""

    def __init__(self, images: int, best: int, penalty: float):
        self.best, self.penalty = best, penalty
        self.found: list[list[Found]] = [[] for _ in range(images)]
        self.bars = [-torch.inf] * images
        """What a caption has to beat to get among the best ones."""

    def put(
        self, images: Tensor, which: Tensor, totals: Tensor, length: int, *, ended: bool
    ) -> None:
        """Take the captions of these beams, all of one length."""
        sums, numbers = totals.tolist(), images.tolist()
        for row, beam in which.nonzero().tolist():
            log_prob, image = sums[row][beam], numbers[row]
            score = log_prob / self._divisor(length)
            self.found[image].append(Found(score, log_prob, ended, length, beam))
            if len(self.found[image]) >= self.best:
                self.bars[image] = self.best_of(image)[-1].score

    def best_of(self, image: int) -> list[Found]:
        """Give the best captions of an image, the best one first."""
        ranked = sorted(self.found[image], key=lambda x: (x.ended, x.score), reverse=True)
        return ranked[: self.best]

    def closed(self, images: Tensor, totals: Tensor, longest: int) -> Tensor:
        """Tell for which images no beam can still score among the best."""
        bounds = totals.amax(1) / self._divisor(longest)
        return torch.tensor([self.bars[i] for i in images.tolist()]).to(bounds) >= bounds

    def _divisor(self, length: int) -> float:
        return float(((5 + length) / 6) ** self.penalty)


def _read(trace: Trace, image: int, found: Found, grid: Grid | None) -> Caption:
    """Read a caption that was found off the trace of the search."""
    words, (weights, places, centres, extents) = trace.read(image, found.length, found.beam)
    score = found.log_prob, found.score, found.ended
    return Caption(words, *score, weights, places, centres, extents, grid)


def spread(
    totals: Float[Tensor, "batch beam"],
    log_probs: Float[Tensor, "batch beam vocabulary"],
    beams: int,
) -> tuple[Float[Tensor, "batch next"], Int64[Tensor, "batch next"], Int64[Tensor, "batch next"]]:
    """Go on with the `beams` best captions, or all: give totals, the beams they were, and words."""
    # The best pairs of beam and word are among the words that are best with their best beam, so
    # one image is ranked by its words and not each of its beams.
    sums = totals.unsqueeze(-1) + log_probs
    words = sums.amax(1).topk(min(beams, sums.shape[-1]), dim=-1).indices
    pairs = sums.take_along_dim(words.unsqueeze(1), -1).flatten(1)
    totals, order = pairs.topk(min(beams, pairs.shape[-1]), dim=-1)
    width = words.shape[-1]
    return totals, order // width, words.gather(1, order % width)


def select(state: State, parents: Int64[Tensor, "batch beam"]) -> State:
    """Give every beam the state of the beam that it was."""
    rows = torch.arange(len(parents), device=parents.device).unsqueeze(1)
    return tuple(x[rows, parents] for x in state)
