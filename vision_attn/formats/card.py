"""The page that goes with exported weights: what they are, how to open them, what they reach."""

import json
from collections.abc import Mapping
from typing import Any

from vision_attn.formats.trained import Trained
from vision_attn.models.config import ResNetConfig

LIBRARY = {
    "timm": "timm",
    "hf": "transformers",
    "torchvision": "torchvision",
    "onnx": "onnx",
    "torch-export": "pytorch",
    "jax": "jax",
}
"""As the hub calls it."""
OPEN = {
    "timm": """\
import timm

network = timm.create_model("local-dir:FOLDER", pretrained=True).eval()""",
    "hf": """\
from transformers import AutoImageProcessor, AutoModelForImageClassification

processor = AutoImageProcessor.from_pretrained("FOLDER")
network = AutoModelForImageClassification.from_pretrained("FOLDER").eval()""",
    "torchvision": """\
import json
from safetensors.torch import load_file
from torchvision.models.{classes}

arguments = json.load(open("FOLDER/arguments.json"))
network = {call}.eval()
network.load_state_dict(load_file("FOLDER/model.safetensors"))""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
(logits,) = session.run(None, {"images": images})  # float32, (batch, channel, row, column)""",
    "torch-export": """\
import torch

network = torch.export.load("FOLDER/model.pt2").module()""",
    "jax": """\
import numpy as np

parameters = dict(np.load("FOLDER/model.npz"))  # the layout of vision_transformer/vit_jax""",
}
JAX_NOTE = """
`vit_jax` approximates GELU by tanh, these weights were trained with the exact one: its logits
differ in about the third digit. timm's reader of this format gives the same to rounding.
"""


def card(
    trained: Trained,
    *,
    to: str,
    name: str,
    numbers: Mapping[str, float],
    recipe: Mapping[str, Any],
) -> str:
    """Write README.md in the form of a model card of the Hugging Face hub.

    `numbers` are what was measured, `recipe` is all that it takes to train the network again.
    """
    spec = trained.spec
    kind = "ResNet" if isinstance(trained.config, ResNetConfig) else "Vision Transformer"
    parameters = sum(x.numel() for x in trained.state.values())
    rows, columns = spec.image_size
    measured = "\n".join(f"| {key} | {value:.6g} |" for key, value in numbers.items())
    classes = ", ".join(spec.names[:50]) + (", ..." if spec.outputs > 50 else "")
    return f"""\
---
library_name: {LIBRARY[to]}
pipeline_tag: image-classification
tags:
- image-classification
- vision-attn
---

# {name}

A {kind} with {parameters:,} parameters for images of {rows}x{columns} pixels, trained with
vision_attn.

## Open it

```python
{_opening(trained, to)}
```

`FOLDER` is where the files of this page are.
{JAX_NOTE if to == "jax" else ""}
## Images

{spec.channels} channels in [0, 1], minus {list(spec.mean)}, divided by {list(spec.std)};
before that resized ({spec.interpolation}) until they cover the size / {spec.crop:g}, of which the
centre is kept. `spec.json` says the same.

## Classes

{spec.outputs}: {classes}

## Measured

| | |
|---|---:|
{measured or "| nothing yet | |"}

## Trained with

```json
{json.dumps(recipe, indent=2)}
```
"""


def _opening(trained: Trained, to: str) -> str:
    if to != "torchvision":
        return OPEN[to]
    if not isinstance(trained.config, ResNetConfig):
        classes, call = (
            "vision_transformer import VisionTransformer",
            "VisionTransformer(**arguments)",
        )
    else:
        block = {"basic": "BasicBlock", "bottleneck": "Bottleneck"}[trained.config.block]
        classes, call = f"resnet import {block}, ResNet", f"ResNet({block}, **arguments)"
    return OPEN[to].format(classes=classes, call=call)
