"""The page that goes with exported weights: what they are, how to open them, what they reach."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vision_attn.formats.format import BY_NUMPY, Format
from vision_attn.formats.trained import Trained
from vision_attn.models.config import ResNetConfig

NAMES = {
    "average_precision": "mean average precision",
    "f1": "macro F1",
    "f1_micro": "micro F1",
    "f1_fitted": "macro F1 with the thresholds",
    "f1_micro_fitted": "micro F1 with the thresholds",
    "exact": "share of images with every label right",
    "ece": "calibration error",
    "loss": "binary cross-entropy, nats",
}
"""What the numbers of several labels are called."""


def card(
    trained: Trained,
    *,
    target: Format,
    name: str,
    numbers: Mapping[str, float],
    recipe: Mapping[str, Any],
    fitted: bool = False,
) -> str:
    """Write README.md in the form of a model card of the Hugging Face hub.

    `numbers` are what was measured, `recipe` is all that it takes to train the network again.
    `fitted` tells whether the thresholds of several labels were fitted.
    """
    spec = trained.spec
    kind = "ResNet" if isinstance(trained.config, ResNetConfig) else "Vision Transformer"
    parameters = sum(x.numel() for x in trained.state.values())
    rows, columns = spec.image_size
    measured = "\n".join(_measured(numbers, several=spec.several))
    classes = ", ".join(spec.names[:50]) + (", ..." if spec.outputs > 50 else "")
    return f"""\
{_front(target, several=spec.several)}
# {name}

A {kind} with {parameters:,} parameters for images of {rows}x{columns} pixels, trained with
vision_attn.

## Open it

```python
{target.opening(trained)}
```

`FOLDER` is where the files of this page are.
{_several(target, fitted=fitted) if spec.several else ""}{target.note}
## Images

{spec.channels} channels in [0, 1], minus {list(spec.mean)}, divided by {list(spec.std)};
before that resized ({spec.interpolation}) until they cover the size / {spec.crop:g}, of which the
centre is kept. `spec.json` says the same.

## {"Labels" if spec.several else "Classes"}

{spec.outputs}: {classes}

## Measured

| | | 95 % interval |
|---|---:|---:|
{measured or "| nothing yet | | |"}

## Trained with

```json
{json.dumps(recipe, indent=2)}
```
"""


def _front(target: Format, *, several: bool) -> str:
    """Write what the hub files a page under."""
    tags = ["image-classification", *["multi-label-classification"] * several, "vision-attn"]
    listed = "\n".join(f"- {tag}" for tag in tags)
    return f"""\
---
library_name: {target.library}
pipeline_tag: image-classification
tags:
{listed}
---
"""


def _several(target: Format, *, fitted: bool) -> str:
    """Say how to tell the labels that apply to an image."""
    origin = (
        "of the highest F1 on the validation images"
        if fitted
        else "0.5 for every label, for none were fitted; vision-attn evaluate does"
    )
    numpy = "\nimport numpy as np\n" if target.probabilities == BY_NUMPY else ""
    return f"""
## Which labels apply

Any number of the labels may apply to an image. Each output says so by itself: its sigmoid is the
probability of its label, and these do not sum to 1. A label applies above its threshold; the
thresholds are {origin}.

```python
import json
{numpy}
thresholds = json.load(open("FOLDER/thresholds.json"))  # by label, in the order of the outputs
{target.probabilities}
labels = [
    [name for (name, least), chance in zip(thresholds.items(), row) if chance > least]
    for row in probabilities.tolist()
]
```
"""


def _measured(numbers: Mapping[str, float], *, several: bool) -> Iterator[str]:
    """Give a row a number, its interval beside it."""
    for key, value in numbers.items():
        if key.endswith(("_low", "_high")):
            continue
        split, _, name = key.partition(" ")
        shown = f"{split} {NAMES.get(name, name)}" if several else key
        ends = [numbers[x] for x in (f"{key}_low", f"{key}_high") if x in numbers]
        yield f"| {shown} | {value:.6g} | {'-'.join(f'{x:.4g}' for x in ends)} |"
