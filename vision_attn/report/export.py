"""Maps as files: raw numbers, overlays, a grid an image, and an index that says what is what."""

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from vision_attn.engine.atomic import whole
from vision_attn.explain.contract import Images, Maps, Targets
from vision_attn.explain.maps import is_flat
from vision_attn.explain.methods import BASELINES, METHODS, SIGNED
from vision_attn.report.grid import Panel, Rows, grid
from vision_attn.report.index import append
from vision_attn.report.looks import SHAPES, Looks
from vision_attn.report.overlay import (
    Picture,
    Pictures,
    overlay,
    pictures,
    stretched,
    to_bytes,
)
from vision_attn.spec import Spec

SHORTEST = 224
"""Pixels of an overlay's shorter side at least: smaller images are enlarged to be seen."""
EXPLAINED = [*METHODS, *BASELINES]
LEVEL = 2
"""Of PNG compression: four times as fast as the usual 6, for a tenth more bytes."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Maps of a batch by one method of one model."""

    model: str
    model_hash: str
    method: str
    maps: Maps
    targets: Targets
    part: str = ""
    """Tells maps of one method apart, such as those for several classes: a folder of the method."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All that the maps depend on beside image, model and method; how targets were chosen too."""
    tokens: tuple[int, int] | None = None
    """Rows and columns of the grid that the maps were upsampled from, where the model has one."""
    scores: Mapping[str, Float[Tensor, " batch"]] = field(default_factory=dict)
    """Those that are not finite are undefined, and left out."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The images that were explained."""

    images: Images
    names: Sequence[str]
    """File names without ending, one an image, different from each other."""
    hashes: Sequence[str]
    spec: Spec
    labels: Targets | None = None
    masks: Bool[Tensor, "batch height width"] | None = None
    """Outlined in grids and on the page."""


def export(
    explained: Sequence[Explained],
    batch: Batch,
    folder: Path | str,
    *,
    outputs: Mapping[str, Float[Tensor, "batch output"]],
    looks: Mapping[str, Looks] | None = None,
    grids: bool = True,
    overlays: bool = True,
) -> list[dict[str, Any]]:
    """Write MODEL/METHOD/NAME.npz and .png for every map, NAME.npz and a grid NAME.png an image.

    `grids` and `overlays` tell whether these pictures are drawn; raw maps always are written.
    The grid shows maps of earlier calls, by other methods, before these. NAME.npz has the picture,
    what the models answered and, where given, their `looks`. Then a line a map goes to index.jsonl;
    these lines are returned, and `flat` in them marks a map without contrast. `outputs` are
    probabilities by model. Raises ValueError on names that are not plain or not unique, before
    anything is written.
    """
    folder = Path(folder)
    _check_names(batch)
    lines = [line for found in explained for line in _write_maps(found, batch, folder, overlays)]
    _write_images(batch, folder, outputs, looks or {})
    if grids:
        _write_grids(explained, batch, folder, outputs)
    append(folder, lines)
    return lines


def _check_names(batch: Batch) -> None:
    names = list(batch.names)
    plain = all(name and Path(name).name == name for name in names)
    if not plain or len(set(names)) < len(names) or len(names) != len(batch.images):
        raise ValueError(
            f"names must be plain file names, a different one for each of the {len(batch.images)} "
            f"images, got {names}"
        )


def _write_maps(
    found: Explained, batch: Batch, folder: Path, overlays: bool
) -> Iterator[dict[str, Any]]:
    home = folder / found.model / found.method / found.part
    home.mkdir(parents=True, exist_ok=True)
    signed = found.method in SIGNED
    shown, stretches = enlarged(batch.images, found.maps, batch.spec, signed)
    maps = found.maps.detach().float().cpu().numpy()
    flat = is_flat(found.maps).tolist()
    for place, name in enumerate(batch.names):
        line = {
            "image": name,
            "image_hash": batch.hashes[place],
            "model": found.model,
            "model_hash": found.model_hash,
            "method": found.method,
            "target": int(found.targets[place]),
            "target_name": batch.spec.names[int(found.targets[place])],
            "settings": dict(found.settings),
            "tokens": found.tokens,
            "file": (home / f"{name}.npz").relative_to(folder).as_posix(),
            "flat": flat[place],
            "scores": {
                score: float(values[place])
                for score, values in found.scores.items()
                if values[place].isfinite()
            },
        }
        with whole(home / f"{name}.npz") as file:
            np.savez_compressed(file, map=maps[place], about=json.dumps(line))
        if overlays:
            write_overlay(home / f"{name}.png", shown[place], stretches[place], signed)
        yield line


def enlarged(
    images: Images, maps: Maps, spec: Spec, signed: bool
) -> tuple[Pictures, Float[np.ndarray, "batch height width"]]:
    """Give pictures and stretched maps, smoothly enlarged by a whole factor if they are small."""
    factor = -(-SHORTEST // min(images.shape[-2:]))
    size = [factor * side for side in images.shape[-2:]]
    large = F.interpolate(images.float(), size=size, mode="bicubic")
    stretches = torch.from_numpy(stretched(maps, signed))
    stretches = F.interpolate(stretches[:, None], size=size, mode="bilinear")[:, 0]
    return pictures(large, spec), stretches.numpy()


def write_overlay(
    path: Path, picture: Picture, stretch: Float[np.ndarray, "height width"], signed: bool
) -> None:
    """Write a stretched map over its picture as PNG."""
    with whole(path) as file:
        colours = to_bytes(overlay(picture, stretch, signed))
        Image.fromarray(colours).save(file, "png", compress_level=LEVEL)


def _write_images(
    batch: Batch,
    folder: Path,
    outputs: Mapping[str, Float[Tensor, "batch output"]],
    looks: Mapping[str, Looks],
) -> None:
    shown = pictures(batch.images, batch.spec)
    for place, name in enumerate(batch.names):
        answers = {model: output[place].max(-1) for model, output in outputs.items()}
        about = {
            "label": None if batch.labels is None else batch.spec.names[int(batch.labels[place])],
            "answers": {
                model: [batch.spec.names[int(best.indices)], float(best.values)]
                for model, best in answers.items()
            },
        }
        arrays: dict[str, Any] = {"picture": to_bytes(shown[place]), "about": json.dumps(about)}
        if batch.masks is not None:
            arrays["mask"] = batch.masks[place].cpu().numpy()
        for model, seen in looks.items():
            for kind, part in seen.parts().items():
                arrays[f"looks/{model}/{kind}"] = part[place].numpy()
            arrays |= {f"looks/{model}/{x}": np.array(getattr(seen, x)) for x in SHAPES}
        with whole(folder / f"{name}.npz") as file:
            np.savez_compressed(file, **arrays)


def _write_grids(
    explained: Sequence[Explained],
    batch: Batch,
    folder: Path,
    outputs: Mapping[str, Float[Tensor, "batch output"]],
) -> None:
    models = list(outputs)
    for place, name in enumerate(batch.names):
        here = slice(place, place + 1)
        labels = None if batch.labels is None else batch.labels[here]
        panels = _earlier(explained, name, batch.hashes[place], folder)
        panels += [Panel(x.model, x.method, x.maps[here], x.part) for x in explained]
        panels.sort(key=lambda panel: models.index(panel.model))
        masks = None if batch.masks is None else batch.masks[here]
        rows = Rows(batch.images[here], batch.spec, labels, masks)
        figure = grid(rows, panels, {model: output[here] for model, output in outputs.items()})
        with whole(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", dpi=160, pil_kwargs={"compress_level": LEVEL})


def _earlier(
    explained: Sequence[Explained], name: str, image_hash: str, folder: Path
) -> list[Panel]:
    """Read the maps that other calls made of an image, by these models and other methods."""
    new = {(found.model, found.method, found.part) for found in explained}
    hashes = {found.model: found.model_hash for found in explained}
    panels = []
    file = f"{glob.escape(name)}.npz"
    for path in sorted({*folder.glob(f"*/*/{file}"), *folder.glob(f"*/*/*/{file}")}):
        model, method, *parts = path.relative_to(folder).parts[:-1]
        part = "".join(parts)
        if model not in hashes or method not in EXPLAINED or (model, method, part) in new:
            continue
        with np.load(path) as kept:
            about = json.loads(str(kept["about"]))
            if (about["image_hash"], about["model_hash"]) == (image_hash, hashes[model]):
                panels.append(Panel(model, method, torch.from_numpy(kept["map"])[None], part))
    return sorted(panels, key=lambda panel: EXPLAINED.index(panel.method))
