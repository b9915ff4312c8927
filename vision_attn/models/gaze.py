"""Where a decoder looks before it names the next word: at regions, or through a retina."""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vision_attn.attention.alignment import Alignment, Memory
from vision_attn.attention.look import Look, hard, peak, probabilities, soft, straight_through
from vision_attn.attention.multihead import join_heads
from vision_attn.attention.window import Everywhere, Monotonic, Predictive, Window
from vision_attn.models.caption_config import LSTMDecoderConfig


class Manner(NamedTuple):
    """How looks are taken that need a decision."""

    draws: bool = False
    """Draw a place, as in training; else take the likeliest one."""
    temperature: float = 1.0
    """Of the Gumbel softmax."""
    expected: Bool[Tensor, " batch"] | None = None
    """Images for which the expected value stands in for a draw."""
    generator: torch.Generator | None = None
    """Of the draws; None for torch's global one, as in training."""


STEADY = Manner()
"""Without draws: as at test."""


class Seen(NamedTuple):
    """What was seen before a word, and where; None for what this kind of look does not have."""

    context: Float[Tensor, "batch query dim"]
    weights: Float[Tensor, "batch query head region"] | None = None
    place: Int64[Tensor, "batch query head"] | None = None
    """The one region that a hard look took."""
    centre: Float[Tensor, "batch query xy"] | None = None
    """Of a glimpse, in [-1, 1]."""
    extent: Float[Tensor, "batch query xy"] | None = None
    """Of a glimpse at its finest, where the image is 2 by 2."""
    log_prob: Float[Tensor, "batch query"] | None = None
    """Of the draw, if it was one; 0 where the expected value stood in for it."""
    entropy: Float[Tensor, "batch query"] | None = None
    """In nats, of the places that a glimpse was drawn from."""
    value: Float[Tensor, "batch query"] | None = None
    """What a policy expects of the reward."""


class Sight(Protocol):
    """What can be looked at, prepared for all looks to come."""

    def keep(self, images: Int64[Tensor, " kept"]) -> "Sight":
        """Leave only these images."""


class RegionGaze(nn.Module):
    """Look at regions softly, or at one of them that is drawn."""

    def __init__(self, config: LSTMDecoderConfig, places: int):
        super().__init__()
        self.kind = config.look
        self.alignment = Alignment(
            config.score,
            _window(config),
            config.dim,
            config.dim,
            heads=config.heads,
            places=places,
        )

    def summary(self, sight: Memory) -> Float[Tensor, "batch dim"]:
        """Average all that can be seen."""
        everything = sight.values.new_ones(len(sight.values), 1, 1, sight.values.shape[2])
        if sight.places.hidden is not None:
            everything = everything * ~sight.places.hidden[:, None, None]
        mean = everything @ sight.values / everything.sum(-1, keepdim=True)
        return join_heads(mean).squeeze(1)

    def forward(
        self, hidden: Float[Tensor, "batch query dim"], sight: Memory, word: int, manner: Manner
    ) -> Seen:
        weights = self.alignment(hidden, sight, word)
        shown = weights.transpose(1, 2)
        if self.kind == "soft":
            return Seen(join_heads(soft(weights, sight.values)), shown)
        look = self._decide(weights, sight.values, manner)
        log_prob = look.log_prob.sum(1) if manner.draws and self.kind == "hard" else None
        place = look.place.transpose(1, 2)
        return Seen(join_heads(look.context), shown, place, log_prob=log_prob)

    def _decide(self, weights: Tensor, values: Tensor, manner: Manner) -> Look:
        if not manner.draws:
            return peak(weights, values)
        if self.kind == "hard":
            stands_in = manner.expected
            if stands_in is not None:
                stands_in = stands_in.unsqueeze(1).expand(weights.shape[:2])
            if isinstance(self.alignment.window, Predictive):  # its weights sum to less than 1
                weights = probabilities(weights)
            return hard(weights, values, manner.generator, stands_in)
        return straight_through(weights, values, manner.temperature, manner.generator)


def _window(config: LSTMDecoderConfig) -> Window:
    reach = 2 if config.reach is None else config.reach
    if config.window == "monotonic":
        return Monotonic(reach, 1.0 if config.pace is None else config.pace)
    return Predictive(config.dim, reach) if config.window == "predictive" else Everywhere()
