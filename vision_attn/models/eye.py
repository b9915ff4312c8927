"""The eye: from the state of the network to what it sees next."""

from typing import NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.models.policy import Categorical, Choice, Context, Gaussian, anywhere
from vision_attn.models.reader import FilterBank, SpatialTransformer
from vision_attn.models.retina import Retina

Images: TypeAlias = Float[Tensor, "batch channel height width"]


class Seen(NamedTuple):
    """One glimpse."""

    patches: Float[Tensor, "batch channel row column"]
    where: Float[Tensor, "batch number"]
    """All that describes the place."""
    centre: Float[Tensor, "batch xy"]
    """In [-1, 1]: x right, y down."""
    extent: Float[Tensor, "batch xy"]
    """Width and height of the finest patch, where the image is 2 by 2."""
    choice: Choice | None = None
    """How the place was chosen; None where no policy did."""
    state: Float[Tensor, "batch dim"] | None = None
    """What the choice was made from."""


class View(NamedTuple):
    """Images made ready to be looked at."""

    images: Images
    retina: Retina
    planned: Float[Tensor, "batch place xy"]
    """The places that do not depend on what is seen, from the first one on."""


class RetinalEye(nn.Module):
    """A retina that a policy moves: learned, random, or at rest in the middle."""

    numbers = 2
    """How many describe a place."""

    def __init__(self, config: GlimpseConfig, channels: int):
        super().__init__()
        self.config = config
        self.policy: Gaussian | Categorical | None = None
        if config.policy == "gaussian":
            self.policy = Gaussian(config.hidden, config.sigma, config.sigma_final)
        elif config.policy == "categorical":
            self.policy = Categorical(config.hidden, config.grid, config.temperature_final)
        self.context = Context(channels, config.hidden) if config.first == "context" else None

    def open(self, images: Images) -> View:
        """Prepare images for all glimpses."""
        config = self.config
        retina = Retina(images, size=config.size, scales=config.scales, growth=config.growth)
        count = config.glimpses if config.policy == "random" else 1
        planned = anywhere(images, count, training=self.training)
        if config.first == "centre":
            planned[:, 0] = 0
        return View(images, retina, planned)

    def forward(self, view: View, step: int, state: Float[Tensor, "batch dim"]) -> Seen:
        height, width = view.images.shape[-2:]
        size = self.config.size
        extent = view.planned.new_tensor([2 * size / width, 2 * size / height])
        choice = None
        if step == 0 and self.context is not None:
            state = self.context(view.images)
        if self.policy is not None and (step or self.context is not None):
            choice = self.policy(state)
            centre = choice.centre
        else:
            centre = view.planned[:, min(step, view.planned.shape[1] - 1)]
        patches = view.retina(centre)
        return Seen(patches, centre, centre, extent.expand(len(centre), -1), choice, state)


class SoftEye(nn.Module):
    """A window that the state moves and widens, differentiable."""

    def __init__(self, config: GlimpseConfig):
        super().__init__()
        kind = FilterBank if config.policy == "draw" else SpatialTransformer
        self.reader = kind(config.hidden, config.size)
        self.numbers = self.reader.window.out_features

    def open(self, images: Images) -> Images:
        """Prepare images for all glimpses."""
        return images

    def forward(self, view: Images, step: int, state: Float[Tensor, "batch dim"]) -> Seen:
        reading = self.reader(view, state)
        return Seen(reading.patches, reading.window, reading.centre, reading.extent)
