"""The formats that `vision-attn export` writes; a new one is a module and a line here."""

from vision_attn.formats import graphs, hugging_face, jax, timm, torchvision
from vision_attn.formats.format import Format

TARGETS: dict[str, Format] = {
    "timm": timm.FORMAT,
    "hf": hugging_face.FORMAT,
    "jax": jax.FORMAT,
    "torchvision": torchvision.FORMAT,
    "onnx": graphs.ONNX,
    "torch-export": graphs.TORCH_EXPORT,
}
