"""A network as a graph of operations, which runs without its code: ONNX and torch.export."""

import io
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vision_attn.formats.format import BY_NUMPY, Format, Logits
from vision_attn.formats.trained import Trained
from vision_attn.spec import Spec

NEEDED = ("onnx", "onnxscript")
BATCH = {"images": {0: torch.export.Dim.DYNAMIC}}
"""Any number of images, of the one size."""
OPENING_ONNX = """\
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
(logits,) = session.run(None, {"images": images})  # float32, (batch, channel, row, column)"""
OPENING_TORCH_EXPORT = """\
import torch

network = torch.export.load("FOLDER/model.pt2").module()"""


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


def reopen_torch_export(folder: Path, trained: Trained) -> Logits:
    """Open what torch.export saved."""
    return torch.export.load(folder / "model.pt2").module()


def reopen_onnx(folder: Path, trained: Trained) -> Logits:
    """Open what onnxruntime runs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def logits(images: Tensor) -> Tensor:
        found: np.ndarray = session.run(None, {"images": images.numpy()})[0]
        return torch.from_numpy(found)

    return logits


ONNX = Format(
    write=lambda trained, model: onnx(model, trained.spec),
    reopen=reopen_onnx,
    package="onnxruntime",
    library="onnx",
    opening=lambda _: OPENING_ONNX,
    probabilities=BY_NUMPY,
)
TORCH_EXPORT = Format(
    write=lambda trained, model: torch_export(model, trained.spec),
    reopen=reopen_torch_export,
    package="torch",
    library="pytorch",
    opening=lambda _: OPENING_TORCH_EXPORT,
)
