"""Where a decoder looks before it names the next word: at regions, or through a retina."""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vision_attn.attention.alignment import Alignment, Memory
from vision_attn.attention.look import Look, hard, peak, soft, straight_through
from vision_attn.attention.multihead import join_heads
from vision_attn.attention.window import Everywhere, Monotonic, Predictive, Window
from vision_attn.models.caption_config import GlimpseDecoderConfig, LSTMDecoderConfig, RetinaConfig
from vision_attn.models.patch_encoder import patch_encoder
from vision_attn.models.policy import annealed
from vision_attn.models.retina import Retina


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
            return hard(weights, values, manner.generator, stands_in)
        return straight_through(weights, values, manner.temperature, manner.generator)


def _window(config: LSTMDecoderConfig) -> Window:
    reach = 2 if config.reach is None else config.reach
    if config.window == "monotonic":
        return Monotonic(reach, 1.0 if config.pace is None else config.pace)
    return Predictive(config.dim, reach) if config.window == "predictive" else Everywhere()


class Scenery:
    """Images that a retina can look at anywhere, for several captions of each at once."""

    def __init__(self, images: Float[Tensor, "batch channel height width"], config: RetinaConfig):
        self.images, self.config = images, config
        self.retina = Retina(images, size=config.size, scales=config.scales, growth=config.growth)

    def patches(
        self, centres: Float[Tensor, "batch query xy"]
    ) -> Float[Tensor, "batch query scale*channel row column"]:
        """Give what the retina has at these places, which no gradient reaches."""
        return self.retina(centres.detach())

    def keep(self, images: Int64[Tensor, " kept"]) -> "Scenery":
        """Leave only these images."""
        return Scenery(self.images[images], self.config)


class GlimpseGaze(nn.Module):
    """Look through a retina whose centre a policy chooses: mean tanh(f(h)), Gaussian around it.

    The log-probability is that of the draw before it is clamped to the image, over both
    coordinates; no gradient flows through the centre, and none from the value to the state.

    Mnih 2014, section 3 (arXiv:1406.6247), with convolutions on the patches.
    """

    def __init__(self, retina: RetinaConfig, config: GlimpseDecoderConfig, channels: int):
        super().__init__()
        dim = config.dim
        self.retina = retina
        self.sigmas, self.sigma = (config.sigma, config.sigma_final), config.sigma
        self.what = patch_encoder(retina.size, channels * retina.scales, retina.channels, dim)
        self.where = nn.Linear(2, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.policy = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 2))
        self.value = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))

    def anneal(self, progress: float) -> None:
        """Set sigma for a share of the training, [0, 1]."""
        self.sigma = annealed(*self.sigmas, progress)

    def summary(self, sight: Scenery) -> Float[Tensor, "batch dim"]:
        """Take a glimpse at the middle of every image."""
        return self._glimpse(sight, sight.images.new_zeros(len(sight.images), 1, 2)).squeeze(1)

    def forward(
        self, hidden: Float[Tensor, "batch query dim"], sight: Scenery, word: int, manner: Manner
    ) -> Seen:
        mean = self.policy(hidden).tanh()
        value = self.value(hidden.detach()).squeeze(-1)
        if not manner.draws:
            return self._seen(sight, mean, value=value)
        policy = torch.distributions.Normal(mean.float(), self.sigma, validate_args=False)
        noise = torch.empty_like(mean, dtype=torch.float32).normal_(generator=manner.generator)
        drawn = (policy.mean + self.sigma * noise).detach()
        log_prob = policy.log_prob(drawn).sum(-1)
        return self._seen(sight, drawn.clamp(-1, 1), value=value, log_prob=log_prob)

    def _seen(
        self, sight: Scenery, centre: Float[Tensor, "batch query xy"], **told: Tensor
    ) -> Seen:
        height, width = sight.images.shape[-2:]
        extent = 2 * self.retina.size / centre.new_tensor([width, height])
        context = self._glimpse(sight, centre)
        return Seen(context, centre=centre, extent=extent.expand_as(centre), **told)

    def _glimpse(
        self, sight: Scenery, centres: Float[Tensor, "batch query xy"]
    ) -> Float[Tensor, "batch query dim"]:
        """Encode what the retina sees and where."""
        what = self.what(sight.patches(centres).flatten(0, 1)).unflatten(0, centres.shape[:2])
        return self.norm(what + self.where(centres.detach().to(what)))
