"""Truth by destruction: a map that shows what was learned must change as the weights are lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Explainer, Images, Maps, Targets
from vision_attn.explain.faithfulness import check_maps
from vision_attn.explain.removal import correlation


class Cascade(NamedTuple):
    """Tell how like the first map is to those of a network randomised from the top down."""

    layers: list[str]
    """The last layer randomised before each explanation; the layers above it are random too."""
    similarity: Float[Tensor, "step batch"]
    """Rank correlation with the map of the intact network, in [-1, 1]."""


def cascade(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    explainer: Explainer,
    steps: int = 10,
    seed: int = 0,
    batch_size: int = 32,
) -> Cascade:
    """Randomise the layers from the last to the first and explain again, `steps` times on the way.

    `explainer` must be what made the maps. A weight tensor is randomised by shuffling its entries,
    which destroys what it learned and keeps its scale (the authors draw from the initialisation,
    which a trained network no longer knows); buffers stay. The order is that of registration. The
    network is as before when this returns, also after an error. Costs `steps` explanations and the
    memory of a second copy of the weights.

    Adebayo 2018, section 3 (arXiv:1810.03292).
    """
    check_maps(images, maps)
    if not isinstance(model, nn.Module):
        raise TypeError(f"an explained network must be a torch.nn.Module, got {type(model)}")
    layers = [layer for layer in model.named_modules() if list(layer[1].parameters(recurse=False))]
    if not layers or steps < 1:
        raise ValueError(
            f"a cascade needs layers and steps, got {steps} steps for a network with "
            f"{len(layers) or 'no weights'} to randomise"
        )
    stages = np.array_split(np.arange(len(layers))[::-1], min(steps, len(layers)))
    generator = torch.Generator().manual_seed(seed)
    similarity = []
    with _restored(model):
        for stage in stages:
            for index in stage:
                _shuffle(layers[index][1], generator)
            parts = zip(images.split(batch_size), targets.split(batch_size), strict=True)
            shuffled = torch.cat([explainer(model, *part) for part in parts])
            similarity.append(rank_correlation(maps, shuffled))
    return Cascade([layers[stage[-1]][0] for stage in stages], torch.stack(similarity))


def randomisation(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    explainer: Explainer,
    steps: int = 10,
    seed: int = 0,
    batch_size: int = 32,
) -> Float[Tensor, " batch"]:
    """Average the similarity over a `cascade`: in [-1, 1], closer to 0 is better.

    Adebayo 2018, section 3 (arXiv:1810.03292).
    """
    settings = {"steps": steps, "seed": seed, "batch_size": batch_size}
    return cascade(model, images, targets, maps, explainer=explainer, **settings).similarity.mean(0)


def rank_correlation(first: Maps, second: Maps) -> Float[Tensor, " batch"]:
    """Correlate the ranks of the pixels (Spearman), equals sharing theirs; 0 for a constant map."""
    ranks = (rankdata(maps.flatten(1).double().cpu().numpy(), axis=1) for maps in (first, second))
    return correlation(*(torch.from_numpy(x) for x in ranks)).to(first.device)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    weights = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weight in weights:
                parameter.copy_(weight)


@torch.no_grad()
def _shuffle(layer: nn.Module, generator: torch.Generator) -> None:
    for parameter in layer.parameters(recurse=False):
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
