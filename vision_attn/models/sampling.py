"""From images to captions by drawing words, all images at once, every word with its look."""

from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vision_attn.attention.window import Grid
from vision_attn.language.vocabulary import END, START
from vision_attn.models.decoders import Decoder
from vision_attn.models.gaze import STEADY, Manner, Seen
from vision_attn.models.generate import Caption, Images, Says
from vision_attn.models.wording import draw, log_probabilities, narrowed

Looks: TypeAlias = list[Tensor | None]


@torch.no_grad()
def sample(
    model: Says,
    images: Images,
    *,
    generator: torch.Generator | None,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    longest: int = 30,
    manner: Manner = STEADY,
) -> list[list[Caption]]:
    """Draw captions word by word, in the order they were drawn; see `narrowed` for top_k and top_p.

    Log-probabilities are the model's, whatever the draw left out. Without a generator the draws are
    from torch's global one, as in training.
    """
    _check(samples, temperature, top_k, top_p, longest)
    decoder: Decoder = model.decoder
    sight = model.look_at(images)
    state = decoder.begin(sight, samples)
    words = torch.full((len(images), samples), START, device=images.device)
    totals = torch.zeros(words.shape, device=images.device)
    said: list[Tensor] = []
    seen: list[Seen] = []
    for word in range(longest):
        step = decoder.step(words, state, sight, word, manner)
        log_probs, state = log_probabilities(step.logits), step.state
        drawn = draw(narrowed(log_probs / temperature, top_k, top_p), generator)
        totals += (words != END) * log_probs.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        words = torch.where(words != END, drawn, END)
        said.append(words)
        seen.append(step.seen)
        if (words == END).all():
            break
    grid = model.region_grid((images.shape[-2], images.shape[-1]))
    return _captions(torch.stack(said, 2), totals, _joined(seen), grid)


def _joined(seen: list[Seen]) -> Looks:
    """Put the looks of all words side by side: weights, places, centres and extents."""
    parts = zip(*((x.weights, x.place, x.centre, x.extent) for x in seen), strict=True)
    return [None if part[0] is None else torch.stack(part, 2) for part in parts]


def _captions(
    words: Int64[Tensor, "batch query word"],
    totals: Float[Tensor, "batch query"],
    looks: Looks,
    grid: Grid | None,
) -> list[list[Caption]]:
    """Cut captions of repeated ends into captions of their own length."""
    found: list[list[Caption]] = []
    pairs = zip(words.tolist(), totals.tolist(), strict=True)
    for image, (rows, sums) in enumerate(pairs):
        own = []
        for query, (row, total) in enumerate(zip(rows, sums, strict=True)):
            ended = END in row
            length = row.index(END) + 1 if ended else len(row)
            weights, places, centres, extents = (
                None if part is None else part[image, query, :length] for part in looks
            )
            said = tuple(row[:length]), total, total, ended
            own.append(Caption(*said, weights, places, centres, extents, grid))
        found.append(own)
    return found


def _check(
    samples: int, temperature: float, top_k: int | None, top_p: float | None, longest: int
) -> None:
    if samples < 1 or longest < 1 or temperature <= 0:
        raise ValueError(
            f"samples and longest must be 1 or more and temperature positive, got {samples}, "
            f"{longest} and {temperature}"
        )
    if (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
        raise ValueError(
            f"top_k must be 1 or more and top_p in (0, 1], got top_k={top_k} and top_p={top_p}"
        )
