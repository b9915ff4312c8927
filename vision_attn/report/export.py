"""Maps as files: raw numbers, overlays, a grid an image, and an index that says what is what."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

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

    @property
    def home(self) -> Path:
        """Where the maps lie in the folder of the export."""
        return Path(self.model, self.method, self.part)


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

    `grids` and `overlays` tell whether these pictures are drawn; raw maps always are written. The
    grid shows maps of earlier calls, which these do not replace, before these. NAME.npz has the
    picture, what the models answered and, where given, their `looks`. Then a line a map goes to
    index.jsonl; these lines are returned, and `flat` in them marks a map without contrast.
    `outputs` are probabilities by model. Raises ValueError on names that are not plain or not
    unique, and on earlier maps that cannot be read, before anything is written.
    """
    folder = Path(folder)
    _check_names(batch)
    earlier = _earlier(explained, batch, folder) if grids else {}
    lines = [line for found in explained for line in _write_maps(found, batch, folder, overlays)]
    _write_images(batch, folder, outputs, looks or {})
    if grids:
        _write_grids(explained, earlier, batch, folder, outputs)
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
    home = folder / found.home
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
    earlier: Mapping[str, list[Panel]],
    batch: Batch,
    folder: Path,
    outputs: Mapping[str, Float[Tensor, "batch output"]],
) -> None:
    models = list(outputs)
    for place, name in enumerate(batch.names):
        here = slice(place, place + 1)
        labels = None if batch.labels is None else batch.labels[here]
        panels = [Panel(x.model, x.method, x.maps[here], x.part) for x in explained]
        panels = [*earlier[name], *panels]
        panels.sort(key=lambda panel: models.index(panel.model))
        masks = None if batch.masks is None else batch.masks[here]
        rows = Rows(batch.images[here], batch.spec, labels, masks)
        figure = grid(rows, panels, {model: output[here] for model, output in outputs.items()})
        with whole(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", dpi=160, pil_kwargs={"compress_level": LEVEL})


def _earlier(explained: Sequence[Explained], batch: Batch, folder: Path) -> dict[str, list[Panel]]:
    """Read the maps of these images by these models that other calls made, by image.

    Maps that are about to be replaced are left out, as are those of another picture: of other
    content, or cropped or scaled otherwise. Raises ValueError for files that cannot be read.
    """
    new = {folder / found.home for found in explained}
    models = {found.model: (found.model_hash, _picture(found.settings)) for found in explained}
    places = [place for model in models for place in _below(folder / model, 2) if place not in new]
    panels: dict[str, list[Panel]] = {}
    for name, image_hash in zip(batch.names, batch.hashes, strict=True):
        found = []
        for path in (place / f"{name}.npz" for place in places):
            if not path.exists():
                continue
            about, values = _read_map(path)
            of = about["model_hash"], _picture(about["settings"])
            same = about["image_hash"] == image_hash and values.shape == batch.images.shape[-2:]
            if same and models.get(about["model"]) == of:
                part = "".join(path.parent.relative_to(folder / about["model"]).parts[1:])
                found.append(Panel(about["model"], about["method"], values[None], part))
        panels[name] = sorted(found, key=lambda panel: _rank(panel.method))
    return panels


def _picture(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings.get("image"), sort_keys=True)


def _below(folder: Path, depth: int) -> list[Path]:
    """List the folders in a folder, and those in these, down to a depth."""
    if not depth or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        inner = sorted(folder / entry.name for entry in entries if entry.is_dir())
    return [place for one in inner for place in (one, *_below(one, depth - 1))]


def _read_map(path: Path) -> tuple[dict[str, Any], Maps]:
    try:
        with np.load(path) as kept:
            return json.loads(str(kept["about"])), torch.from_numpy(kept["map"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise ValueError(
            f"{path} must be a map of an earlier call, but cannot be read ({error}); move it away, "
            f"or give another folder"
        ) from None


def _rank(method: str) -> int:
    order = [*METHODS, *BASELINES]
    return order.index(method) if method in order else len(order)
