"""Explanations from the outputs alone: cover parts of the image and watch the score."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.steps import Pair, probability, readings, whole


def occlusion(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    window: int | None = None,
    stride: int | None = None,
    fill: float | Tensor = 0.0,
    batch_size: int = 64,
) -> Maps:
    """Give every pixel the mean drop of the target's logit over the windows that cover it.

    `window` is the side of the covering square in pixels, by default an eighth of the shorter side
    of the image; `stride` is by default half of that, which costs about 225 forward passes. The
    last row and column of windows end where the image ends. A window shows `fill`: a value, 0 is
    the mean colour of normalised images, or anything that broadcasts to `images`. Raises ValueError
    if the window does not fit or windows leave gaps.

    Zeiler and Fergus 2014, section 4.2 (arXiv:1311.2901).
    """
    height, width = size = images.shape[-2:]
    window = max(min(size) // 8, 1) if window is None else window
    stride = max(window // 2, 1) if stride is None else stride
    if not 1 <= stride <= window <= min(size):
        raise ValueError(
            f"occlusion needs 1 <= stride <= window <= the shorter side of the image, "
            f"got stride={stride}, window={window} and images of {height}x{width} pixels"
        )
    rows, columns = (_windows(length, window, stride, images.device) for length in size)
    filled = torch.as_tensor(fill).to(images).expand_as(images)

    def covered(image: Pair, step: Pair) -> Images:
        shape = rows[step // len(columns), :, None] & columns[step % len(columns), None, :]
        return torch.where(shape[:, None], filled[image], images[image])

    steps = len(rows) * len(columns)
    left = readings(model, images, targets, covered, steps=steps, batch_size=batch_size)
    drops = (whole(model, images, targets, batch_size) - left).view(len(rows), len(columns), -1)
    rows, columns = rows.to(drops), columns.to(drops)
    sums = torch.einsum("rcb,rh,cw->bhw", drops, rows, columns)
    return sums / (rows.sum(0)[:, None] * columns.sum(0))


def _windows(
    length: int, window: int, stride: int, device: torch.device
) -> Bool[Tensor, "place pixel"]:
    starts = torch.tensor([*range(0, length - window, stride), length - window], device=device)
    pixel = torch.arange(length, device=device)
    return (pixel >= starts[:, None]) & (pixel < starts[:, None] + window)


def rise(
    model: Explainable,
    images: Images,
    targets: Targets,
    *,
    samples: int = 1000,
    grid: int = 7,
    keep: float = 0.5,
    fill: float | Tensor = 0.0,
    seed: int = 0,
    batch_size: int = 64,
) -> Maps:
    """Average random soft masks, each weighted by the target's probability on the masked image.

    A mask is a coarse pattern of `grid` cells along the shorter side of the image, each shown with
    probability `keep`; it is enlarged bilinearly and shifted by a random part of a cell. All images
    share the masks of `seed`. Where a mask hides, the image turns into `fill`: a value, 0 is the
    mean colour of normalised images, or anything that broadcasts to `images`. Costs a forward pass
    a sample. Raises ValueError if `keep` is outside (0, 1].

    Petsiuk 2018, equation 6 (arXiv:1806.07421).
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], got {keep}")
    images = images.detach()
    masks = SoftMasks(samples, grid, keep, (images.shape[-2], images.shape[-1]), seed)
    way = images - fill

    def masked(image: Pair, step: Pair) -> Images:
        hidden = 1 - masks(step).to(images)
        return images[image] - hidden[:, None] * way[image]

    chances = readings(
        model, images, targets, masked, steps=samples, batch_size=batch_size, read=probability
    )
    maps = torch.zeros(len(images), *images.shape[-2:]).to(chances)
    for step in torch.arange(samples).split(batch_size):
        maps += torch.einsum("sb,shw->bhw", chances[step.to(chances.device)], masks(step).to(maps))
    return maps / (samples * keep)


class SoftMasks:
    """Hold random masks as small patterns and enlarge those asked for."""

    def __init__(self, samples: int, grid: int, keep: float, size: tuple[int, int], seed: int):
        self.size = size
        self.cell = -(-min(size) // grid)
        rows, columns = (-(-length // self.cell) for length in size)
        generator = torch.Generator().manual_seed(seed)
        self.patterns = torch.rand(samples, 1, rows, columns, generator=generator) < keep
        self.shifts = torch.randint(self.cell, (2, samples), generator=generator)

    def __call__(self, step: Pair) -> Float[Tensor, "pair height width"]:
        """Enlarge each pattern to one cell more than the image and cut it at its shift."""
        step = step.cpu()
        patterns = self.patterns[step].float()
        enlarged = [(cells + 1) * self.cell for cells in patterns.shape[-2:]]
        large = F.interpolate(patterns, size=enlarged, mode="bilinear")[:, 0]
        rows, columns = (
            shift[step, None] + torch.arange(length)
            for shift, length in zip(self.shifts, self.size, strict=True)
        )
        return large[torch.arange(len(step))[:, None, None], rows[:, :, None], columns[:, None]]
