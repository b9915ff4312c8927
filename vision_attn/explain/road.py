"""Removal that leaves no edge: pixels taken away are filled in from their neighbours."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.faithfulness import check_maps, rank
from vision_attn.explain.steps import Pair, draw, probability, readings


def road(
    model: Explainable,
    images: Images,
    targets: Targets,
    maps: Maps,
    *,
    fractions: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8),
    noise: float = 0.01,
    seed: int = 0,
    batch_size: int = 64,
) -> Float[Tensor, " batch"]:
    """Compare removing the least with removing the most relevant pixels, filled in by `impute`.

    For each image it is the target's probability after the former minus that after the latter, mean
    over the fractions of pixels removed: in [-1, 1], more is better (twice the "combined" score of
    the grad-cam package). `noise` is the standard deviation added to pixels filled in, the same for
    every image. Costs two forward passes and two sparse solves a fraction.

    Rong 2022, section 4 (arXiv:2202.00449).
    """
    if not fractions or not all(0 < share < 1 for share in fractions):
        raise ValueError(f"fractions must be one or more in (0, 1), got {fractions}")
    check_maps(images, maps)
    ranks = rank(maps)
    pixels = ranks[0].numel()
    counts = torch.tensor([round(share * pixels) for share in fractions]).to(ranks)
    # A step keeps the ranks [first, last): first the most, then the least relevant are removed.
    first = torch.cat([counts, torch.zeros_like(counts)]).view(-1, 1, 1)
    last = torch.cat([torch.full_like(counts, pixels), pixels - counts]).view(-1, 1, 1)

    def normal(generator: np.random.Generator) -> np.ndarray:
        return generator.standard_normal(images.shape[1:], dtype=np.float32)

    def without(image: Pair, step: Pair) -> Images:
        removed = (ranks[image] < first[step]) | (ranks[image] >= last[step])
        grain = noise * removed[:, None] * draw(normal, seed, step, images.device)
        return impute(images[image], removed) + grain.to(images)

    chances = readings(
        model, images, targets, without, steps=len(first), batch_size=batch_size, read=probability
    )
    most, least = chances.chunk(2)
    return (least - most).mean(0)


def impute(images: Images, removed: Bool[Tensor, "batch height width"]) -> Images:
    """Fill removed pixels in so that each is the weighted mean of its neighbours.

    Neighbours along an axis weigh twice as much as diagonal ones; those outside the image do not
    count. Solved exactly, on the CPU. Raises ValueError if nothing of an image is left.

    Rong 2022, section 4.3 (arXiv:2202.00449).
    """
    if removed.flatten(1).all(1).any():
        raise ValueError("an image of which every pixel is removed cannot be filled in")
    filled = images.detach().cpu().double().permute(0, 2, 3, 1).numpy().copy()
    for image, hole in zip(filled, removed.cpu().numpy(), strict=True):
        if hole.any():
            image[hole] = _solve(image, hole)
    return torch.from_numpy(filled).permute(0, 3, 1, 2).to(images)


def _solve(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    number = np.pad(number, 1, constant_values=-2)
    image = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    row, column = np.nonzero(number >= 0)
    own = np.arange(len(row))
    entries, known, weights = [], np.zeros((len(row), image.shape[-1])), np.zeros(len(row))
    for down, right in [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1) if (d, r) != (0, 0)]:
        weight = 1 / 12 if down and right else 1 / 6
        neighbour = number[row + down, column + right]
        weights += weight * (neighbour > -2)
        known += weight * image[row + down, column + right] * (neighbour == -1)[:, None]
        unknown = neighbour >= 0
        entries.append((np.full(unknown.sum(), -weight), own[unknown], neighbour[unknown]))
    entries.append((weights, own, own))
    values, rows, columns = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    system = csc_matrix((values, (rows, columns)))
    # The system is symmetric and positive definite: no pivoting keeps the factors sparse.
    factors = splu(system, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factors.solve(known)
