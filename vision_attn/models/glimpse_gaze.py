"""Looking through a retina before every word, at a place that a policy chooses."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vision_attn.attention.alignment import Alignment, Memory
from vision_attn.attention.look import entropy, hard, peak
from vision_attn.attention.window import Everywhere, Places
from vision_attn.models.caption_config import GlimpseDecoderConfig, RetinaConfig
from vision_attn.models.embed import sincos_positions
from vision_attn.models.gaze import Manner, Seen
from vision_attn.models.patch_encoder import patch_encoder
from vision_attn.models.policy import annealed
from vision_attn.models.retina import Retina

Images: TypeAlias = Float[Tensor, "batch channel height width"]
Hidden: TypeAlias = Float[Tensor, "batch query dim"]
Centres: TypeAlias = Float[Tensor, "batch query xy"]
Glimpse: TypeAlias = Callable[[Centres], Float[Tensor, "batch query dim"]]
"""What turns places into what is seen there."""


class Scenery:
    """Images that a retina can look at anywhere, for several captions of each at once."""

    def __init__(self, images: Images, config: RetinaConfig, outline: Memory | None = None):
        self.images, self.config, self.outline = images, config, outline
        self.retina = Retina(images, size=config.size, scales=config.scales, growth=config.growth)
        self.shown: Float[Tensor, "batch cell dim"] | None = None
        """What glimpses at all cells of a grid see, once that was asked for."""

    def patches(self, centres: Centres) -> Float[Tensor, "batch query scale*channel row column"]:
        """Give what the retina has at these places, which no gradient reaches."""
        return self.retina(centres.detach())

    def keep(self, images: Int64[Tensor, " kept"]) -> "Scenery":
        """Leave only these images."""
        outline = None if self.outline is None else self.outline.keep(images)
        return Scenery(self.images[images], self.config, outline)


class AnyPlace(nn.Sequential):
    """Choose any place: mean tanh(f(h)), Gaussian around it.

    The log-probability is that of the draw before it is clamped to the image, over both
    coordinates. Mnih 2014, section 3 (arXiv:1406.6247).
    """

    def __init__(self, config: GlimpseDecoderConfig):
        dim = config.dim
        super().__init__(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 2))
        self.sigmas, self.sigma = (config.sigma, config.sigma_final), config.sigma

    def anneal(self, progress: float) -> None:
        """Set sigma for a share of the training, [0, 1]."""
        self.sigma = annealed(*self.sigmas, progress)

    def outline(self, images: Images) -> None:
        """Need nothing of the images."""

    def look(self, hidden: Hidden, sight: Scenery, manner: Manner, glimpse: Glimpse) -> Seen:
        """Look at a place that is drawn, or at the mean."""
        mean = self(hidden).tanh()
        if not manner.draws:
            return Seen(glimpse(mean), centre=mean)
        policy = torch.distributions.Normal(mean.float(), self.sigma, validate_args=False)
        noise = torch.empty_like(mean, dtype=torch.float32).normal_(generator=manner.generator)
        drawn = (policy.mean + self.sigma * noise).detach()
        centre, log_prob = drawn.clamp(-1, 1), policy.log_prob(drawn).sum(-1)
        return Seen(glimpse(centre), centre=centre, log_prob=log_prob)


class Cell(nn.Module):
    """Choose a cell of a grid, by what a small copy of the image shows there.

    The periphery has one mean a cell: enough to see where something is, too little to tell what.
    Draws are made as hard looks are. Captions in training have about as many words as there are
    cells, so all cells are glimpsed at once then, which also gives the expected value where it
    stands in for a draw. After the context network of Ba 2015, section 3 (arXiv:1412.7755), asked
    anew for every word.
    """

    positions: Float[Tensor, "1 cell dim"]

    def __init__(self, config: GlimpseDecoderConfig, channels: int):
        super().__init__()
        assert config.cells is not None
        dim, side = config.dim, config.cells
        self.places = Places((side, side))
        self.periphery = nn.Sequential(
            nn.Conv2d(channels, dim // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(dim // 2, dim, 3, padding=1, bias=False),  # a softmax would not see it
        )
        self.alignment = Alignment("general", Everywhere(), dim, dim, places=side**2)
        self.register_buffer("positions", sincos_positions(self.places.grid, dim), False)

    def anneal(self, progress: float) -> None:
        """Stay: draws are as likely as the weights say."""

    def outline(self, images: Images) -> Memory:
        """Look at every cell of the small copies."""
        small = F.adaptive_avg_pool2d(images, self.places.grid)
        keys = self.periphery(small).flatten(2).transpose(1, 2) + self.positions
        return self.alignment.prepare(keys, self.places)

    def look(self, hidden: Hidden, sight: Scenery, manner: Manner, glimpse: Glimpse) -> Seen:
        """Look at a cell that is drawn, or at the likeliest."""
        assert sight.outline is not None
        weights = self.alignment(hidden, sight.outline, 0).squeeze(1).float()
        middles = self.middles(weights)
        if not manner.draws:
            centre = peak(weights, middles).context
            return Seen(glimpse(centre), centre=centre)
        if sight.shown is None:
            sight.shown = glimpse(middles).to(middles)
        look = hard(weights, sight.shown, manner.generator, manner.expected)
        centre = middles.take_along_dim(look.place.unsqueeze(-1), 1)
        context, spread = look.context.to(hidden.dtype), entropy(weights)
        return Seen(context, centre=centre, log_prob=look.log_prob, entropy=spread)

    def middles(self, like: Tensor) -> Float[Tensor, "batch cell xy"]:
        """Give the middle of every cell of every image, in [-1, 1]."""
        middles = self.places.middles(like) * (2 / self.places.grid[0]) - 1
        return middles.expand(len(like), -1, -1)


class GlimpseGaze(nn.Module):
    """Look through a retina whose centre a policy chooses.

    No gradient flows through the centre, and none from the value to the state.

    Mnih 2014, section 3 (arXiv:1406.6247), with convolutions on the patches.
    """

    def __init__(self, retina: RetinaConfig, config: GlimpseDecoderConfig, channels: int):
        super().__init__()
        dim = config.dim
        self.retina = retina
        self.what = patch_encoder(
            retina.size,
            channels * retina.scales,
            retina.channels,
            dim,
            pool=retina.downsample == "max",
        )
        self.where = nn.Linear(2, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.policy: AnyPlace | Cell
        self.policy = AnyPlace(config) if config.policy == "gaussian" else Cell(config, channels)
        self.value = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))

    def open(self, images: Images) -> Scenery:
        """Prepare images for all glimpses."""
        return Scenery(images, self.retina, self.policy.outline(images))

    def summary(self, sight: Scenery) -> Float[Tensor, "batch dim"]:
        """Take a glimpse at the middle of every image."""
        return self._glimpse(sight, sight.images.new_zeros(len(sight.images), 1, 2)).squeeze(1)

    def forward(self, hidden: Hidden, sight: Scenery, word: int, manner: Manner) -> Seen:
        seen = self.policy.look(hidden, sight, manner, partial(self._glimpse, sight))
        height, width = sight.images.shape[-2:]
        size = hidden.new_tensor([width, height], dtype=torch.float32)
        extent = (2 * self.retina.size / size).expand(*hidden.shape[:2], -1)
        return seen._replace(extent=extent, value=self.value(hidden.detach()).squeeze(-1))

    def _glimpse(self, sight: Scenery, centres: Centres) -> Float[Tensor, "batch query dim"]:
        """Encode what the retina sees and where."""
        what = self.what(sight.patches(centres).flatten(0, 1)).unflatten(0, centres.shape[:2])
        return self.norm(what + self.where(centres.detach().to(what)))
