"""The .npz files of the original Vision Transformer, github.com/google-research/vision_transformer.

Dense kernels are (in, out), convolutions (row, column, in, out), and attention keeps a head axis.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vision_attn.formats.format import BY_NUMPY, Format, Logits
from vision_attn.formats.table import Entry, Layout, depth_of, read, same, write
from vision_attn.formats.trained import Trained, refusal, usual_norm, with_class_position
from vision_attn.models.config import ResNetConfig, ViTConfig

BLOCK = "Transformer/encoderblock_"
OPTIMISER = "opt/target/"
"""Before every name in files that keep the state of the optimizer, too."""
DENSE = Layout(lambda parts: parts[0].T, lambda own, heads: (own.T,))
CONVOLUTION = Layout(
    lambda parts: parts[0].permute(3, 2, 0, 1), lambda own, heads: (own.permute(2, 3, 1, 0),)
)
QKV_KERNELS = Layout(
    lambda parts: torch.cat([part.flatten(1).T for part in parts]),
    lambda own, heads: [part.T.unflatten(1, (heads, -1)) for part in own.chunk(3)],
)
"""Three of (in, head, head_dim)."""
QKV_BIASES = Layout(
    lambda parts: torch.cat([part.flatten() for part in parts]),
    lambda own, heads: [part.unflatten(0, (heads, -1)) for part in own.chunk(3)],
)
"""Three of (head, head_dim)."""
JOINED_KERNEL = Layout(
    lambda parts: parts[0].flatten(0, 1).T,
    lambda own, heads: (own.T.unflatten(0, (heads, -1)),),
)
"""(head, head_dim, out)."""
OPENING = """\
import numpy as np

parameters = dict(np.load("FOLDER/model.npz"))  # the layout of vision_transformer/vit_jax"""
NOTE = """
`vit_jax` approximates GELU by tanh, these weights were trained with the exact one: its logits
differ in about the third digit. timm's reader of this format gives the same to rounding.
"""


def claims(names: Iterable[str]) -> bool:
    """Recognise names of nested dicts."""
    return any("/" in name for name in names)


def ours(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Give the parameters our names, and in words what was left out.

    Raises ValueError if they are not those of a plain Vision Transformer.
    """
    state = {name.removeprefix(OPTIMISER): tensor for name, tensor in state.items()}
    depth = depth_of(state, BLOCK)
    if not depth or "embedding/kernel" not in state or "conv_root/kernel" in state:
        raise ValueError(
            f"an .npz must hold a Vision Transformer, and no hybrid, mixer or BiT; got names such "
            f"as {', '.join(sorted(state)[:3])}"
        )
    if "pre_logits/kernel" not in state:
        return read(state, table(depth)), []
    kept = {name: x for name, x in state.items() if not name.startswith(("pre_logits/", "head/"))}
    return read(kept, table(depth)), ["head, pre_logits: left out, our head is one linear layer"]


def unseen(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tell the number of heads from the shape of a kernel, and what every such network has."""
    kernels = (x for name, x in state.items() if name.endswith("Attention_1/query/kernel"))
    kernel = next(kernels, None)
    return {"norm_eps": 1e-6} | ({} if kernel is None else {"heads": kernel.shape[1]})


def table(depth: int) -> Iterator[Entry]:
    """List the parameters of a ViT of so many blocks."""
    yield same("cls_token", "cls")
    yield same("pos_embed", "Transformer/posembed_input/pos_embedding")
    yield Entry("patch_embed.proj.weight", ("embedding/kernel",), CONVOLUTION)
    yield same("patch_embed.proj.bias", "embedding/bias")
    for block in range(depth):
        own, other = f"blocks.{block}", f"{BLOCK}{block}"
        attention = f"{other}/MultiHeadDotProductAttention_1"
        yield from _scale(f"{own}.norm1", f"{other}/LayerNorm_0")
        yield Entry(f"{own}.attn.qkv.weight", _qkv(attention, "kernel"), QKV_KERNELS)
        yield Entry(f"{own}.attn.qkv.bias", _qkv(attention, "bias"), QKV_BIASES)
        yield Entry(f"{own}.attn.proj.weight", (f"{attention}/out/kernel",), JOINED_KERNEL)
        yield same(f"{own}.attn.proj.bias", f"{attention}/out/bias")
        yield from _scale(f"{own}.norm2", f"{other}/LayerNorm_2")
        yield from _dense(f"{own}.mlp.fc1", f"{other}/MlpBlock_3/Dense_0")
        yield from _dense(f"{own}.mlp.fc2", f"{other}/MlpBlock_3/Dense_1")
    yield from _scale("norm", "Transformer/encoder_norm")
    yield from _dense("head", "head")


def _qkv(attention: str, kind: str) -> tuple[str, ...]:
    return tuple(f"{attention}/{name}/{kind}" for name in ("query", "key", "value"))


def _scale(ours: str, theirs: str) -> tuple[Entry, Entry]:
    return same(f"{ours}.weight", f"{theirs}/scale"), same(f"{ours}.bias", f"{theirs}/bias")


def _dense(ours: str, theirs: str) -> tuple[Entry, Entry]:
    kernel = Entry(f"{ours}.weight", (f"{theirs}/kernel",), DENSE)
    return kernel, same(f"{ours}.bias", f"{theirs}/bias")


def files(trained: Trained) -> dict[str, bytes]:
    """Write model.npz; ValueError for what the original code cannot hold."""
    config, _, state = trained
    if isinstance(config, ResNetConfig):
        raise refusal("the JAX format", "its networks are Vision Transformers, got a ResNet")
    usual_norm(config, "the JAX format")
    _, depth, heads = config.shape
    state = with_class_position(state, config)
    arrays = write(state, table(depth), heads=heads, library="the JAX format")
    buffer = io.BytesIO()
    np.savez(buffer, **{name: x.numpy() for name, x in arrays.items()})  # type: ignore[arg-type]
    return {"model.npz": buffer.getvalue()}


def reopen(folder: Path, trained: Trained) -> Logits:
    """Open what `files` wrote with timm, which has a reader of its own for it."""
    from timm.models.vision_transformer import VisionTransformer

    config, spec, _ = trained
    assert isinstance(config, ViTConfig)
    dim, depth, heads = config.shape
    network = VisionTransformer(
        img_size=spec.image_size,
        patch_size=config.patch_size_for(spec.image_size),
        in_chans=spec.channels,
        num_classes=spec.outputs,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=config.mlp_ratio,
    )
    network.load_pretrained(str(folder / "model.npz"))
    return network.eval()


FORMAT = Format(
    write=lambda trained, _: files(trained),
    reopen=reopen,
    package="timm",
    library="jax",
    opening=lambda _: OPENING,
    probabilities=BY_NUMPY,
    note=NOTE,
)
