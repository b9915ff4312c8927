"""Where the eye goes next: learned from rewards, by chance, or nowhere."""

import math
from typing import NamedTuple
from zlib import crc32

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.attention.look import Look, hard, peak, straight_through

Images = Float[Tensor, "batch channel height width"]
State = Float[Tensor, "batch dim"]


class Choice(NamedTuple):
    """A place to look at, and how likely it was."""

    centre: Float[Tensor, "batch xy"]
    """In [-1, 1]: x right, y down; without a gradient, unless it was chosen pathwise."""
    log_prob: Float[Tensor, " batch"] | None = None
    """Of the draw; None where nothing is learned from rewards."""
    weights: Float[Tensor, "batch head word region"] | None = None
    """Of all places, row by row, where they can be listed."""


def annealed(start: float, end: float | None, progress: float) -> float:
    """Fall from start to end by equal factors; without an end, stay."""
    return start if end is None else start * (end / start) ** progress


class Gaussian(nn.Module):
    """Draw places around a mean that the state tells; in evaluation take the mean.

    Mnih 2014, section 3.1 (arXiv:1406.6247). The samples are not clamped before their
    log-probability is taken, which sums over x and y.
    """

    def __init__(self, dim: int, sigma: float, sigma_final: float | None):
        super().__init__()
        self.mean = nn.Linear(dim, 2)
        self.sigmas = sigma, sigma_final
        self.sigma, self.pathwise = sigma, False

    def anneal(self, progress: float) -> None:
        """Set sigma for a share of the training, [0, 1]."""
        self.sigma = annealed(*self.sigmas, progress)

    def forward(self, state: State) -> Choice:
        mean = self.mean(state).float().tanh()
        if not self.training:
            return Choice(mean.detach())
        noise = torch.randn_like(mean)
        if self.pathwise:
            return Choice((mean + self.sigma * noise).clamp(-1, 1))
        sample = mean.detach() + self.sigma * noise
        deviations = (sample - mean) / self.sigma
        constant = math.log(2 * math.pi * self.sigma**2)
        log_prob = -deviations.square().sum(-1) / 2 - constant
        return Choice(sample.clamp(-1, 1), log_prob)


class Categorical(nn.Module):
    """Draw one place of a grid; in evaluation take the likeliest.

    Pathwise, its gradient is that of a Gumbel softmax (Jang 2017, arXiv:1611.01144).
    """

    places: Float[Tensor, "place xy"]

    def __init__(self, dim: int, grid: int, temperature_final: float):
        super().__init__()
        self.score = nn.Linear(dim, grid**2)
        middles = (torch.arange(grid) + 0.5) * 2 / grid - 1
        down, across = torch.meshgrid(middles, middles, indexing="ij")
        self.register_buffer("places", torch.stack([across, down], -1).flatten(0, 1), False)
        self.temperature_final = temperature_final
        self.temperature, self.pathwise = 1.0, False

    def anneal(self, progress: float) -> None:
        """Set the temperature for a share of the training, [0, 1]."""
        self.temperature = self.temperature_final**progress

    def forward(self, state: State) -> Choice:
        weights = self.score(state).float().softmax(-1).unsqueeze(1)
        look = self._look(weights)
        pathwise = self.training and self.pathwise
        log_prob = look.log_prob[:, 0] if self.training and not pathwise else None
        centre = look.context[:, 0]
        return Choice(centre if pathwise else centre.detach(), log_prob, weights.unsqueeze(1))

    def _look(self, weights: Float[Tensor, "batch 1 place"]) -> Look:
        places = self.places.to(weights).expand(len(weights), -1, -1)
        if not self.training:
            return peak(weights, places)
        if self.pathwise:
            return straight_through(weights, places, self.temperature)
        return hard(weights, places)


class Context(nn.Module):
    """See a small copy of the image at once, only to choose the first place.

    Ba 2015, section 3's context network (arXiv:1412.7755).
    """

    SIDE = 12

    def __init__(self, channels: int, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(channels * self.SIDE**2, dim)
        self.fc2 = nn.Linear(dim, dim)

    def forward(self, images: Images) -> State:
        small = F.adaptive_avg_pool2d(images, self.SIDE).flatten(1)
        return F.relu(self.fc2(F.relu(self.fc1(small))))


def anywhere(images: Images, count: int, *, training: bool) -> Float[Tensor, "batch {count} xy"]:
    """Draw places all over each image.

    From torch's global generator in training; else what is drawn depends on the image alone, and
    the same image is always seen at the same places.
    """
    if training:
        return torch.rand(len(images), count, 2, device=images.device) * 2 - 1
    pixels = images.detach().float().cpu().numpy()
    seeds = [crc32(image.tobytes()) for image in pixels]
    drawn = [torch.rand(count, 2, generator=torch.Generator().manual_seed(x)) for x in seeds]
    return (torch.stack(drawn) * 2 - 1).to(images.device)
