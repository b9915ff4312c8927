"""The ResNet of Hugging Face's transformers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from vision_attn.formats.table import Entry, depth_of, norm, pair, read, same, write
from vision_attn.formats.trained import Trained, as_in_paper
from vision_attn.models.config import ResNetConfig

ROOT = "embedder.embedder.convolution.weight"
"""Ends the name of the stem; what stands before it stands before every name."""
EXPANSION = {"basic": 1, "bottleneck": 4}


def claims(names: Iterable[str]) -> bool:
    """Recognise names of transformers' ResNet."""
    return any(name.endswith(ROOT) for name in names)


def ours(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Give the parameters our names, and in words what was left out: nothing."""
    root = next(name for name in state if name.endswith(ROOT)).removesuffix(ROOT)
    depths = [depth_of(state, f"{root}encoder.stages.{stage}.layers.") for stage in range(4)]
    third = f"{root}encoder.stages.0.layers.0.layer.2.convolution.weight" in state
    return read(state, table(depths, root, "bottleneck" if third else "basic")), []


def table(depths: Sequence[int], root: str, block: str) -> Iterator[Entry]:
    """List the parameters of a ResNet of so many blocks in each stage."""
    yield from _convolution("conv1", "bn1", f"{root}embedder.embedder")
    for stage, depth in enumerate(depths):
        for number in range(depth):
            own = f"layer{stage + 1}.{number}"
            other = f"{root}encoder.stages.{stage}.layers.{number}"
            for layer in range({"basic": 2, "bottleneck": 3}[block]):
                convolution, batch_norm = f"{own}.conv{layer + 1}", f"{own}.bn{layer + 1}"
                yield from _convolution(convolution, batch_norm, f"{other}.layer.{layer}")
            yield from _convolution(
                f"{own}.downsample.0", f"{own}.downsample.1", f"{other}.shortcut"
            )
    yield from pair("fc", "classifier.1")


def _convolution(convolution: str, batch_norm: str, theirs: str) -> Iterator[Entry]:
    yield same(f"{convolution}.weight", f"{theirs}.convolution.weight")
    yield from norm(batch_norm, f"{theirs}.normalization")


def theirs(trained: Trained) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Give the parameters the names of transformers, and the settings of its class.

    Raises ValueError for a ResNet that its class cannot hold.
    """
    config, spec, state = trained
    assert isinstance(config, ResNetConfig)
    as_in_paper(config, "ResNetForImageClassification", widths=())
    entries = [
        entry
        for entry in table(config.depths, "resnet.", config.block)
        if ".downsample." not in entry.ours or entry.ours in state
    ]
    tensors = write(state, entries, heads=1, library="ResNetForImageClassification")
    expansion = EXPANSION[config.block]
    return tensors, {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "layer_type": config.block,
        "depths": list(config.depths),
        "embedding_size": config.channels[0],
        "hidden_sizes": [width * expansion for width in config.channels],
        "num_channels": spec.channels,
        "hidden_act": "relu",
    }
