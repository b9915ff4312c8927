"""Truth by removal: what the output loses when the pixels that a map names are taken away."""

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.faithfulness import Fill, check_maps, rank
from vision_attn.explain.steps import Pair, draw, readings, whole
from vision_attn.explain.targets import score

TENTHS = tuple(tenth / 10 for tenth in range(1, 10))


def zero(images: Images) -> Images:
    """Paint every image in zeros: the mean colour of the data, where images are normalised."""
    return torch.zeros_like(images)


def positive_perturbation(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    fractions: tuple[float, ...] = TENTHS,
    fill: Fill = zero,
    batch_size: int = 64,
) -> Float[Tensor, " batch"]:
    """Remove the most relevant pixels first: how long does the prediction hold? Less is better.

    For each image it is the area under "the target's logit is the highest" over the fractions of
    pixels removed, as a share in [0, 1]; the mean over images is the area under the accuracy curve.
    Removed pixels show `fill`, by default the mean colour of the data (in the authors' code:
    black). Costs a forward pass a fraction.

    Chefer 2021, section 4 (arXiv:2012.09838).
    """
    check_fractions(fractions)
    check_maps(images, maps)
    ranks = rank(maps)
    counts = torch.tensor([round(share * ranks[0].numel()) for share in fractions]).to(ranks)
    filled = fill(images)

    def without(image: Pair, step: Pair) -> Images:
        removed = ranks[image] < counts[step].view(-1, 1, 1)
        return torch.where(removed[:, None], filled[image], images[image])

    holds = readings(
        model, images, targets, without, steps=len(counts), batch_size=batch_size, read=_is_top
    )
    area = torch.trapezoid(holds, torch.tensor(fractions).to(holds), dim=0)
    return area / (fractions[-1] - fractions[0])


def negative_perturbation(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    fractions: tuple[float, ...] = TENTHS,
    fill: Fill = zero,
    batch_size: int = 64,
) -> Float[Tensor, " batch"]:
    """Remove the least relevant pixels first, else as `positive_perturbation`. More is better.

    Chefer 2021, section 4 (arXiv:2012.09838).
    """
    return positive_perturbation(
        model, images, targets, -maps, fractions=fractions, fill=fill, batch_size=batch_size
    )


def sensitivity_n(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    share: float = 0.1,
    samples: int = 64,
    fill: Fill = zero,
    seed: int = 0,
    batch_size: int = 64,
) -> Float[Tensor, " batch"]:
    """Correlate the relevance in random sets of pixels with the logit lost by their removal.

    A set has `share` of all pixels (the n of the name); all images share the sets of `seed`. The
    result is in [-1, 1], 1 is best; it is 0 for a constant map or output. Costs a forward pass a
    sample and one more.

    Ancona 2018, section 4 (arXiv:1711.06104).
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share}")
    check_maps(images, maps)
    height, width = maps.shape[1:]
    count = max(round(share * height * width), 1)
    filled = fill(images)

    def subset(generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(height * width).reshape(height, width) < count

    def without(image: Pair, step: Pair) -> Images:
        removed = draw(subset, seed, step, images.device)
        return torch.where(removed[:, None], filled[image], images[image])

    left = readings(model, images, targets, without, steps=samples, batch_size=batch_size)
    lost = whole(model, images, targets, batch_size) - left
    named = torch.cat(
        [
            torch.einsum(
                "shw,bhw->sb", draw(subset, seed, step, maps.device).double(), maps.double()
            )
            for step in torch.arange(samples, device=maps.device).split(batch_size)
        ]
    )
    return correlation(named.to(lost.device).T, lost.T)


def correlation(
    first: Float[Tensor, "batch sample"], second: Float[Tensor, "batch sample"]
) -> Float[Tensor, " batch"]:
    """Correlate the rows of two tables (Pearson); 0 where a row is constant."""
    first, second = _centred(first.double()), _centred(second.double())
    scale = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(scale > 0, (first * second).sum(1) / scale, 0.0).float()


def _centred(rows: Tensor) -> Tensor:
    # What rounding leaves of a constant row would correlate with anything.
    centred = rows - rows.mean(1, keepdim=True)
    spread = centred.norm(dim=1, keepdim=True)
    return torch.where(spread > 1e-9 * rows.norm(dim=1, keepdim=True), centred, 0.0)


def check_fractions(fractions: tuple[float, ...]) -> None:
    """Raise ValueError unless there are at least two fractions, ascending within [0, 1]."""
    ascending = all(low < high for low, high in pairwise(fractions))
    if len(fractions) < 2 or not ascending or fractions[0] < 0 or fractions[-1] > 1:
        raise ValueError(f"fractions must be two or more, ascending in [0, 1], got {fractions}")


def _is_top(logits: Float[Tensor, "pair output"], targets: Targets) -> Float[Tensor, " pair"]:
    return (score(logits, targets) >= logits.amax(-1)).to(logits)
