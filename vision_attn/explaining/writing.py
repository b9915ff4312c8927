"""One batch of images: outputs, looks and maps of every network, handed to the export."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vision_attn.explain.contract import Explainer, Images, Metric
from vision_attn.explain.localisation import energy_in_mask, pointing_game
from vision_attn.explain.methods import BASELINES, METHODS
from vision_attn.explaining.networks import Network
from vision_attn.explaining.sources import Item, View
from vision_attn.explaining.wanted import Want
from vision_attn.report.cost import at_rest
from vision_attn.report.export import Batch, Explained, export
from vision_attn.report.looks import Looks, looks

EXPLAINERS: Mapping[str, Explainer] = METHODS | BASELINES


class Column(NamedTuple):
    """What is made of every image: a map of one network by one method for one wanted class."""

    network: Network
    method: str
    want: Want
    settings: dict[str, Any]


class Seen(NamedTuple):
    """An image as each network reads it, and the name its files take."""

    name: str
    hash: str
    item: Item
    views: list[View]


def write(
    columns: Sequence[Column],
    seen: Sequence[Seen],
    out: Path,
    metrics: Mapping[str, Metric],
    formats: Sequence[str],
) -> None:
    """Explain a batch and write all of it; columns of one network stand together."""
    labels = [image.item.label for image in seen]
    masks = [image.item.mask for image in seen if image.item.mask is not None]
    batch = Batch(
        images=torch.stack([image.views[0] for image in seen]),
        names=[image.name for image in seen],
        hashes=[image.hash for image in seen],
        spec=columns[0].network.spec,
        labels=None if None in labels else torch.tensor(labels),
        masks=torch.stack(masks) if masks else None,
    )
    explained: list[Explained] = []
    outputs: dict[str, Tensor] = {}
    who_looks: dict[str, Looks] = {}
    groups = groupby(columns, lambda column: column.network)
    for place, (network, group) in enumerate(groups):
        images = torch.stack([image.views[place] for image in seen]).to(network.device)
        with at_rest(network.model):
            logits = network.model(images)
        outputs[network.name] = logits.float().softmax(-1).cpu()
        if network.grid is not None:
            who_looks[network.name] = _one_by_one(network, images)
        explained += [_maps(column, images, logits, batch, metrics) for column in group]
    export(
        explained,
        batch,
        out,
        outputs=outputs,
        looks=who_looks,
        grids="grids" in formats,
        overlays="overlays" in formats,
    )


def _maps(
    column: Column, images: Images, logits: Tensor, batch: Batch, metrics: Mapping[str, Metric]
) -> Explained:
    network = column.network
    targets = column.want.targets(logits, batch.labels)
    maps = EXPLAINERS[column.method](network.model, images, targets)
    scores = {
        name: metric(network.model, images, targets, maps) for name, metric in metrics.items()
    }
    if batch.masks is not None:
        masks = batch.masks.to(maps.device)
        scores["pointing_game"] = pointing_game(maps, masks)
        scores["energy"] = energy_in_mask(maps, masks)
    return Explained(
        model=network.name,
        model_hash=network.hash,
        method=column.method,
        part=column.want.part,
        maps=maps,
        targets=targets,
        settings=column.settings,
        tokens=network.grid,
        scores=scores,
    )


def _one_by_one(network: Network, images: Images) -> Looks:
    """Record who looks at whom an image at a time: all layers at once are large."""
    parts = [looks(network.model, image) for image in images.split(1)]
    fields = zip(*(part[1:] for part in parts), strict=True)
    return Looks(parts[0].grid, *(torch.cat(field) for field in fields))
