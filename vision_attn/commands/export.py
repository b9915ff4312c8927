"""From a run to files that other libraries read, with a page about them; `vision-attn export`."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from vision_attn.data.places import places
from vision_attn.engine.atomic import whole
from vision_attn.engine.run import Run, fresh
from vision_attn.formats import hub
from vision_attn.formats.card import card
from vision_attn.formats.format import difference
from vision_attn.formats.targets import TARGETS
from vision_attn.formats.trained import Trained
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.report.tag_evaluation import THRESHOLDS
from vision_attn.report.tag_judgement import HALF
from vision_attn.trained import load_model

TOLERANCE = 1e-5
"""Largest difference of logits that is rounding, relative to the largest logit above 1."""


class Exported(NamedTuple):
    """What an export wrote, and whether it was opened again."""

    paths: list[Path]
    difference: float | None
    """Of the logits, see `difference`; None where the library is not installed."""
    library: str
    """Opens it."""
    address: str | None
    """Where it was pushed to."""


def export(run: Path, to: str, out: Path, *, push: str | None = None) -> Exported:
    """Write the best weights of a run into the folder `out`, in the format `to`, with a card.

    The library opens them again, where it is installed, and must find the same logits. `push` is
    ORG/NAME on the Hugging Face hub. Raises ValueError for what the format cannot hold, and if the
    logits are others; then nothing is written to `out`.
    """
    model, spec = load_model(run)
    config = getattr(model, "config", None)
    if not isinstance(config, ViTConfig | ResNetConfig):
        raise ValueError(
            f"a Vision Transformer or a ResNet that tells labels can be exported, {run} holds "
            f"another network"
        )
    trained = Trained(config, spec, {name: x.detach() for name, x in model.state_dict().items()})
    target = TARGETS[to]
    files = target.write(trained, model)
    name = push.rpartition("/")[2] if push else run.resolve().name
    opened = Run.open(run)
    numbers, recipe = _numbers(opened), _anywhere(opened.recipe)
    thresholds = _thresholds(opened)
    page = card(
        trained,
        target=target,
        name=name,
        numbers=numbers,
        recipe=recipe,
        fitted=thresholds is not None,
    )
    if spec.several:
        told = thresholds or dict.fromkeys(spec.names, HALF)
        files[THRESHOLDS] = (json.dumps(told, indent=2) + "\n").encode()
    files |= {
        "spec.json": (json.dumps(spec.to_dict(), indent=2) + "\n").encode(),
        "README.md": page.encode(),
    }
    found = _write(files, out, lambda folder: difference(target, folder, trained, model))
    address = hub.push(out, push) if push else None
    return Exported([out / name for name in files], found, target.package, address)


def _write(
    files: Mapping[str, bytes], out: Path, compare: Callable[[Path], float | None]
) -> float | None:
    """Write files beside `out`, give what `compare` finds there, and move them if it is rounding.

    Raises ValueError if it is more.
    """
    beside = out.resolve().parent
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=beside) as scratch:
        for name, content in files.items():
            with whole(Path(scratch, name)) as file:
                file.write(content)
        found = compare(Path(scratch))
        if not (found is None or found <= TOLERANCE):
            raise ValueError(
                f"what is exported must have the logits of the run up to {TOLERANCE:g}, got a "
                f"difference of {found:.2g}; {out} is left as it was, and another format may do"
            )
        out.mkdir(exist_ok=True)
        for name in files:
            os.replace(Path(scratch, name), out / name)
    return found


def _anywhere(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where things lie on this machine, which is nobody's business."""
    named = {name: Path(place).name for name, place in places(recipe["data"]).items()}
    kept = {name: x for name, x in recipe.items() if name not in ("run", "init")}
    return kept | {"data": recipe["data"] | named}


def _numbers(run: Run) -> dict[str, float]:
    """Give the numbers of the test, if it was evaluated, else those that chose the weights."""
    if (found := _found(run, "evaluation-test.json")) is not None:
        return {f"test {name}": x for name, x in found.items()}
    chose = "valid_average_precision" if run.spec.several else "valid_accuracy"
    lines: list[dict[str, Any]] = [x for x in run.metrics() if chose in x]
    best = max(lines, key=lambda line: line[chose] or 0, default={})
    return {k.replace("_", " ", 1): x for k, x in best.items() if k.startswith("valid_")}


def _thresholds(run: Run) -> dict[str, float] | None:
    """Give the threshold of each label, if they were fitted."""
    return _found(run, f"evaluation/test/{THRESHOLDS}")


def _found(run: Run, name: str) -> dict[str, float] | None:
    """Read what an evaluation kept in the run's folder, if it judged the weights that are there."""
    found = fresh(run.folder, name)
    return json.loads(found.read_text()) if found else None
