"""A network as a graph of operations, which runs without its code: ONNX and torch.export."""

import io
import json
from importlib.util import find_spec

import torch
from torch import nn

from vision_attn.spec import Spec

NEEDED = ("onnx", "onnxscript")
BATCH = {"images": {0: torch.export.Dim.DYNAMIC}}
"""Any number of images, of the one size."""


def torch_export(model: nn.Module, spec: Spec) -> dict[str, bytes]:
    """Write model.pt2, which torch.export.load reads; it takes any number of images."""
    buffer = io.BytesIO()
    torch.export.save(_graph(model, spec), buffer)
    return {"model.pt2": buffer.getvalue()}


def onnx(model: nn.Module, spec: Spec) -> dict[str, bytes]:
    """Write model.onnx from `images` to `logits`, with the specification in its metadata.

    Raises ValueError if the packages that write ONNX are missing.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(
            f"--to onnx needs {' and '.join(missing)}; pip install 'vision_attn[export]'"
        )
    program = torch.onnx.export(
        _graph(model, spec), input_names=["images"], output_names=["logits"], verbose=False
    )
    assert program is not None
    program.model.metadata_props["vision_attn"] = json.dumps({"spec": spec.to_dict()})
    return {"model.onnx": program.model_proto.SerializeToString()}


def _graph(model: nn.Module, spec: Spec) -> torch.export.ExportedProgram:
    example = torch.zeros(2, spec.channels, *spec.image_size)
    with torch.no_grad():
        return torch.export.export(model.eval(), (example,), dynamic_shapes=BATCH, strict=True)
