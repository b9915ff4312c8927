"""Maps that know nothing of the network: what every score has to be compared with."""

from zlib import crc32

import torch
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.maps import image_size, upsample


def random_map(
    model: Explainable, images: Images, targets: Targets, *, cells: int = 8, seed: int = 0
) -> Maps:
    """Draw uniform noise on a grid, `cells` to the shorter side, as coarse as a usual map.

    An image's noise depends on its pixels and `seed` alone, not on the rest of the batch.
    """
    rows, columns = image_size(images)
    cell = min(rows, columns) / cells
    shape = (max(1, round(rows / cell)), max(1, round(columns / cell)))
    noise = torch.stack([_noise(image, shape, seed) for image in images])
    return upsample(noise.to(images.device), (rows, columns))


def centre_map(
    model: Explainable, images: Images, targets: Targets, *, spread: float = 0.25
) -> Maps:
    """Draw a Gaussian around the centre, its standard deviation a share `spread` of each side."""
    rows, columns = image_size(images)
    down = torch.linspace(-1, 1, rows, device=images.device)[:, None] / (2 * spread)
    across = torch.linspace(-1, 1, columns, device=images.device) / (2 * spread)
    return torch.exp(-(down**2 + across**2) / 2).expand(len(images), -1, -1)


def _noise(image: Tensor, shape: tuple[int, int], seed: int) -> Tensor:
    pixels = image.detach().float().cpu().numpy().tobytes()
    return torch.rand(shape, generator=torch.Generator().manual_seed(crc32(pixels, seed)))
