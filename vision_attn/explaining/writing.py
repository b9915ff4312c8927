"""One batch of images: outputs, looks and maps of every network, handed to the export."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from vision_attn.explain.contract import Images, Maps, Targets
from vision_attn.explain.localisation import LOCALISATION
from vision_attn.explain.methods import CHECKS, CLASS_MAPS, METRICS
from vision_attn.explaining.columns import EXPLAINERS, Column
from vision_attn.explaining.intake import Seen
from vision_attn.explaining.networks import Network, probabilities
from vision_attn.report.cost import at_rest
from vision_attn.report.export import Batch, Explained, export
from vision_attn.report.looks import BUDGET, Looks, joined, looks


def write(
    columns: Sequence[Column],
    seen: Sequence[Seen],
    out: Path,
    scores: Sequence[str],
    formats: Sequence[str],
) -> None:
    """Explain a batch and write all of it; columns of one network stand together."""
    labels = [image.label for image in seen if image.label is not None]
    masks = [image.mask for image in seen if image.mask is not None]
    batch = Batch(
        images=torch.stack([image.views[0] for image in seen]),
        names=[image.name for image in seen],
        hashes=[image.hash for image in seen],
        spec=columns[0].network.spec,
        labels=torch.tensor(labels) if labels else None,
        masks=torch.stack(masks) if masks else None,
    )
    explained: list[Explained] = []
    outputs: dict[str, Tensor] = {}
    who_looks: dict[str, Looks] = {}
    attending = {x.network.name for x in columns if x.network.grid is not None}
    budget = BUDGET // max(len(attending), 1)  # two networks share the page
    groups = groupby(columns, lambda column: column.network)
    for place, (network, group) in enumerate(groups):
        images = torch.stack([image.views[place] for image in seen]).to(network.device)
        with at_rest(network.model):
            logits = network.model(images)
        outputs[network.name] = probabilities(logits, network.spec).cpu()
        if network.grid is not None:
            who_looks[network.name] = _one_by_one(network, images, budget)
        for _, same in groupby(group, lambda column: column.method):
            explained += _maps(list(same), images, logits, batch, scores)
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
    columns: Sequence[Column], images: Images, logits: Tensor, batch: Batch, scores: Sequence[str]
) -> list[Explained]:
    """Explain by one method, all wanted classes in one forward pass where that is known how."""
    model, method = columns[0].network.model, columns[0].method
    targets = [column.want.targets(logits, batch.labels) for column in columns]
    maps: Iterable[Tensor]
    if method in CLASS_MAPS:
        maps = CLASS_MAPS[method](model, images, torch.stack(targets, 1)).unbind(1)
    else:
        maps = (EXPLAINERS[method](model, images, classes) for classes in targets)
    return [
        _scored(column, images, classes, own, batch, scores)
        for column, classes, own in zip(columns, targets, maps, strict=True)
    ]


def _scored(
    column: Column,
    images: Images,
    targets: Targets,
    maps: Maps,
    batch: Batch,
    scores: Sequence[str],
) -> Explained:
    network, explainer = column.network, EXPLAINERS[column.method]
    found: dict[str, Tensor] = {}
    for name in scores:
        if name in METRICS:
            found[name] = METRICS[name](network.model, images, targets, maps)
        elif name in CHECKS:
            check = CHECKS[name]
            found[name] = check(network.model, images, targets, maps, explainer=explainer)
        else:
            assert batch.masks is not None  # `lay_out` made sure
            found[name] = LOCALISATION[name](maps, batch.masks.to(maps.device))
    return Explained(
        model=network.name,
        model_hash=network.hash,
        method=column.method,
        part=column.want.part,
        maps=maps,
        targets=targets,
        settings=column.settings,
        tokens=network.grid,
        scores=found,
    )


def _one_by_one(network: Network, images: Images, budget: int) -> Looks:
    """Record who looks at whom an image at a time: all layers at once are large."""
    return joined([looks(network.model, image, budget=budget) for image in images.split(1)])
