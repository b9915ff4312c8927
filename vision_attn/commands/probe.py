"""What a network's features are worth before anything is trained: neighbours, and few labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vision_attn.commands.held_out import open_data, take
from vision_attn.commands.starting import open_start, prepared, start_from
from vision_attn.data.batch import Data, Labelled, Source
from vision_attn.data.config import AugmentConfig
from vision_attn.data.loader import share
from vision_attn.data.splits import SplitName
from vision_attn.engine.distributed import find
from vision_attn.recipe import Recipe, read
from vision_attn.recorded import recipe_of
from vision_attn.tasks.task import evaluating
from vision_attn.trained import load_model

if TYPE_CHECKING:
    from vision_attn.trained import Network

TEMPERATURE = 0.07
"""Of a neighbour's vote; Wu 2018, section 3.4 (arXiv:1805.01978)."""
DRAWS = 5
"""Choices of a few images a class, whose results are averaged."""


class Features(NamedTuple):
    """What the head would read of every image of a split, with the labels; on the CPU."""

    vectors: Float[Tensor, "image dim"]
    labels: Int[Tensor, " image"]


class Probed(NamedTuple):
    """Accuracies by name, and what is to be said about weights and data."""

    numbers: dict[str, float]
    remarks: list[str]


def probe(
    source: Path,
    *overrides: str,
    neighbours: int = 20,
    shots: int = 10,
    split: SplitName = "test",
    batch_size: int = 256,
    device: str = "auto",
) -> Probed:
    """Classify a split by the network's features alone, its head and its training left out.

    `source` is a run folder, or a recipe whose `init` gives the weights. The numbers are the
    accuracy of the nearest `neighbours` in the training split, that of a linear reading of `shots`
    training images a class (all of a class with fewer), its standard deviation over the draws of
    these, and the images. Raises ValueError if network or data do not allow it.
    """
    model, data, runs, remarks = _open(source, *overrides)
    held = take(data, split, *runs).source
    model.to(find(device).device)
    known, asked = (describe(model, part, batch_size) for part in (data.train, held))
    outputs = data.spec.outputs
    votes = nearest(known, asked.vectors, neighbours, outputs)
    right = [
        accuracy(linear(few(known, shots, seed), asked.vectors, outputs), asked.labels)
        for seed in range(DRAWS)
    ]
    spread, mean = torch.std_mean(torch.tensor(right))
    numbers = {"knn": accuracy(votes, asked.labels), "few_shot": mean.item()}
    return Probed(
        numbers | {"few_shot_deviation": spread.item(), "images": len(asked.labels)}, remarks
    )


def describe(model: nn.Module, split: Source[Labelled], batch_size: int = 256) -> Features:
    """Read the features of all images of a split; ValueError if the network has none to give."""
    read_features: Any = getattr(model, "features", None)
    if read_features is None:
        raise ValueError(f"a probe needs a ViT or a ResNet, got {type(model).__name__}")
    device = next(model.parameters()).device
    with evaluating(model):
        found = [
            Features(read_features(images.to(device)).float().cpu(), labels)
            for images, labels in share(split, batch_size)
        ]
    return Features(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def nearest(
    known: Features, vectors: Float[Tensor, "query dim"], neighbours: int, outputs: int
) -> Float[Tensor, "query output"]:
    """Let the most similar known images vote for their classes, by exp(cosine / 0.07).

    Wu 2018, section 3.4 (arXiv:1805.01978).
    """
    if not 1 <= neighbours <= len(known.labels):
        raise ValueError(f"neighbours must be in 1..{len(known.labels)}, got {neighbours}")
    votes = []
    for part in vectors.split(256):  # bounds the memory, whatever the number of images
        cosines = F.normalize(part, dim=1) @ F.normalize(known.vectors, dim=1).T
        nearness, places = cosines.topk(neighbours)
        empty = nearness.new_zeros(len(part), outputs)
        weights = (nearness / TEMPERATURE).exp()
        votes.append(empty.scatter_add(1, known.labels[places], weights))
    return torch.cat(votes)


def linear(
    known: Features, vectors: Float[Tensor, "query dim"], outputs: int
) -> Float[Tensor, "query output"]:
    """Read answers off standardised features by ridge regression to 1 for the class, else -1.

    The penalty is the number of features, which serves from one image a class up.

    Dosovitskiy 2021, section 4.1's few-shot accuracy (arXiv:2010.11929).
    """
    seen = known.vectors.double()
    spread, mean = torch.std_mean(seen, dim=0, correction=0)
    spread[spread == 0] = 1.0
    inputs = (seen - mean) / spread
    targets = 2.0 * F.one_hot(known.labels, outputs).double() - 1
    penalty = inputs.shape[1] * torch.eye(inputs.shape[1], dtype=torch.float64)
    centred = targets - targets.mean(0)
    weights = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ centred)
    return (vectors.double() - mean) / spread @ weights + targets.mean(0)


def few(known: Features, shots: int, seed: int) -> Features:
    """Choose so many images of each class at random, or all of a class that has fewer."""
    order = torch.randperm(len(known.labels), generator=torch.Generator().manual_seed(seed))
    labels = known.labels[order]
    chosen = torch.cat([order[labels == label][:shots] for label in labels.unique()])
    return Features(known.vectors[chosen], known.labels[chosen])


def accuracy(answers: Float[Tensor, "query output"], labels: Int[Tensor, " query"]) -> float:
    """Give the share of answers whose largest number is that of the label."""
    return (answers.argmax(1) == labels).double().mean().item()


class _Opened(NamedTuple):
    model: Network
    data: Data
    runs: list[Path]
    """The run that trained the weights, if one did."""
    remarks: list[str]


def _open(source: Path, *overrides: str) -> _Opened:
    """Load the weights of a run, or those that a recipe starts from, and the data.

    Raises ValueError if a recipe names no weights, or a run's data is prepared otherwise.
    """
    if source.is_dir():
        model, spec = load_model(source)
        unchanged = _unchanged(recipe_of(source, *overrides))
        return _Opened(model, open_data(unchanged, spec, same_classes=False), [source], [])
    recipe = read(source, *overrides)
    if recipe.init is None:
        raise ValueError(f"features of random weights tell nothing; give {source} an init=WEIGHTS")
    start = open_start(recipe.init)
    data = _unchanged(prepared(recipe, start)).data.build()
    model = recipe.model.build(data.spec)
    runs = [Path(recipe.init)] if Path(recipe.init, "config.yaml").exists() else []
    return _Opened(model, data, runs, [*data.remarks, *start_from(model, start)])


def _unchanged(recipe: Recipe) -> Recipe:
    """Leave the training images of a recipe without augmentation."""
    settings: Any = recipe.data
    if not hasattr(settings, "augment"):
        return recipe
    return recipe.model_copy(update={"data": replace(settings, augment=AugmentConfig())})
