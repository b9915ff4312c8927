"""Truth by stability: a good map hardly moves when the image hardly does."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Explainer, Images, Maps, Targets
from vision_attn.explain.faithfulness import check_maps
from vision_attn.explain.steps import draw, pairs


def max_sensitivity(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    explainer: Explainer,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    batch_size: int = 32,
) -> Float[Tensor, " batch"]:
    """Give the largest change of a map when its image is shaken, relative to the map's norm.

    Every value of the image moves by a uniform random number in [-radius, radius], the same for all
    images; `explainer` must be what made the maps. Less is better; an all-zero map gives nan. Costs
    `samples` explanations.

    Yeh 2019, definition 2.3 (arXiv:1901.09392).
    """
    check_maps(images, maps)
    images = images.detach()

    def uniform(generator: np.random.Generator) -> np.ndarray:
        return generator.uniform(-radius, radius, images.shape[1:])

    changes = []
    for image, step in pairs(images, samples, batch_size):
        shaken = images[image] + draw(uniform, seed, step, images.device).to(images)
        moved = explainer(model, shaken, targets.to(image.device)[image]) - maps[image]
        changes.append(moved.flatten(1).norm(dim=1))
    largest = torch.cat(changes).view(samples, len(images)).amax(0)
    norm = maps.flatten(1).norm(dim=1)
    return torch.where(norm > 0, largest / norm, torch.nan)
