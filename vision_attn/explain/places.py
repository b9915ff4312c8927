"""Where timm's and torchvision's networks keep their patches, and which layer to listen at."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

Size: TypeAlias = tuple[int, int]
"""Rows and columns: of an image in pixels, of a grid in patches."""

_READERS = re.compile(
    "(global_?pool|avg_?pool|pool|pooling|flatten|head.*|fc|classif.*|last_linear|pre_logits"
    "|blocks_token_only|cls_attn_blocks|post_network)$"
)
"""Names under which networks keep what reads the last feature map: none of it is a map itself."""
_ATTENTION = re.compile("attention|attn|xca", re.IGNORECASE)
_UNDEFINED = {
    "xca|crosscov": "cross-covariance attention, between channels and not between tokens",
    "window": "attention within shifted windows",
    "": "attention that is not known to go over one sequence of tokens",
}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Say where a network keeps its patches and how it reads them."""

    cam_layer: nn.Module | None
    """The last layer whose gradient reaches the patches; None where that is not known."""
    prefix_tokens: int | None = 0
    """How many tokens come before the patches; None where that is not known."""
    grid: Callable[[Size], Size] | None = None
    """From image size to grid; None for networks that change it on the way."""
    channels_last: bool = False
    """Whether a feature map that could be read either way has its channels on the last axis."""
    attention_layers: int = 0
    """How many records a forward pass must give, pooling by attention included."""
    last_look: nn.Module | None = None
    """The layer after which nothing attends any more, where the library's own code says so."""
    readout: Float[Tensor, " token"] | None = None
    undefined: str = ""
    """Why the methods of attention are undefined, if the network attends at all."""


def find(network: nn.Module) -> Places | None:
    """Recognise a network by its structure; None if it is like none of timm or torchvision."""
    return _timm_sequence(network) or _torchvision_sequence(network) or _maps(network)


def _timm_sequence(network: Any) -> Places | None:
    """Recognise a plain transformer: one sequence of tokens all the way, prefix tokens first."""
    embed: Any = getattr(network, "patch_embed", getattr(network, "embeds", None))
    prefix = getattr(network, "num_prefix_tokens", None)
    plain = ("blocks", "norm") in pairwise(name for name, _ in network.named_children())
    if not plain or prefix is None or not hasattr(embed, "dynamic_feat_size"):
        return None
    pool = getattr(network, "attn_pool", None)
    reads = "attention" if pool is not None else _timm_reads(network)
    rows, columns = getattr(embed, "grid_size", None) or (1, 1)
    readout = _readout(reads, prefix, rows * columns)
    undefined = ""
    if pool is not None and getattr(pool, "latent_len", 0) != 1:
        undefined = f"a head that reads with several queries ({type(pool).__name__})"
    elif pool is None and readout is None:
        undefined = f"a head that reads no weighted mean of tokens (global_pool={reads!r})"
    return Places(
        cam_layer=_before_last_look(network.blocks) if "token" in reads else network.norm,
        prefix_tokens=prefix,
        grid=embed.dynamic_feat_size,
        attention_layers=len(network.blocks) + (pool is not None),
        last_look=_last_look(network, "attn", network.blocks) if pool is None else None,
        readout=readout,
        undefined=undefined,
    )


def _last_look(network: nn.Module, name: str, blocks: Any) -> nn.Module | None:
    """Find the last block's attention if it has one of its own, and another is of its kind.

    What ends there sees its first look alone; others of a kind that looks twice give it away.
    """
    *others, last = (getattr(block, name, None) for block in blocks)
    sure = all(layer is not last for layer in others) and type(last) in map(type, others)
    return last if sure and _is_stock(network) else None


def _is_stock(network: nn.Module) -> bool:
    """Tell whether the class is the library's, and nobody's that does something else."""
    return type(network).__module__.startswith(("timm.models.", "torchvision.models."))


def count_outputs(network: Any) -> int | None:
    """Count the outputs of the head that timm's or torchvision's network has, if it is linear."""
    if not _is_stock(network):
        return None
    head = getattr(network, "heads", None)
    if hasattr(network, "get_classifier"):
        head = network.get_classifier()
    if isinstance(head, nn.Sequential):
        head = head[-1] if len(head) else None
    head = head[0] if isinstance(head, tuple) else head
    return head.out_features if isinstance(head, nn.Linear) else None


def _timm_reads(network: Any) -> str:
    if getattr(network, "head_dist", None) is not None:
        return "two tokens"
    pool = getattr(network, "global_pool", "")
    return (
        "avg of all" if pool == "avg" and getattr(network, "pool_include_prefix", False) else pool
    )


def _torchvision_sequence(network: Any) -> Places | None:
    layers = getattr(getattr(network, "encoder", None), "layers", None)
    if not layers or not hasattr(network, "class_token") or not hasattr(network, "conv_proj"):
        return None

    def grid(size: Size) -> Size:
        return size[0] // network.patch_size, size[1] // network.patch_size

    rows, columns = grid((network.image_size, network.image_size))
    return Places(
        cam_layer=layers[-1].ln_1,
        prefix_tokens=1,
        grid=grid,
        attention_layers=len(layers),
        last_look=_last_look(network, "self_attention", layers),
        readout=_readout("token", 1, rows * columns),
    )


def _maps(network: nn.Module) -> Places | None:
    """Recognise a network of feature maps, which may shrink, by what its head is called."""
    body: list[nn.Module] = []
    for name, child in network.named_children():
        if _READERS.match(name):
            break
        if not name.lower().startswith("aux"):
            body.append(child)
    else:
        return None
    if not body:
        return None
    layer = body[-1]
    while isinstance(layer, nn.ModuleList):
        layer = layer[-1]
    return Places(
        cam_layer=layer,
        channels_last=getattr(network, "output_fmt", "NCHW") == "NHWC",
        prefix_tokens=_later_prefix(network),
        undefined=_undefined(type(module).__name__ for module in network.modules()),
    )


def _later_prefix(network: Any) -> int:
    """Count the prefix tokens of a network that has a class token but is not one plain sequence."""
    token = getattr(network, "cls_token", None)
    if isinstance(token, Tensor) and token.ndim == 3:
        return token.shape[1]
    return 0


def _undefined(names: Iterable[str]) -> str:
    attending = sorted({name for name in names if _ATTENTION.search(name)})
    for pattern, reason in _UNDEFINED.items():
        for name in attending:
            if re.search(pattern, name.lower()):
                return f"{reason} ({name})"
    return ""


def _before_last_look(blocks: Any) -> nn.Module | None:
    """Find the last layer whose patches a class token still looks at."""
    last = blocks[-1]
    # Where the norm comes after attention, its patches are read by nothing any more.
    if "Post" not in type(last).__name__:
        for name in ("norm1", "in_norm"):
            if hasattr(last, name):
                return getattr(last, name)
    return blocks[-2] if len(blocks) > 1 else None


def _readout(reads: str, prefix: int, patches: int) -> Tensor | None:
    row = torch.zeros(prefix + patches)
    if reads == "token":
        row[0] = 1
    elif reads == "two tokens":
        row[:2] = 1 / 2
    elif reads == "avg":
        row[prefix:] = 1 / patches
    elif reads == "avg of all":
        row[:] = 1 / len(row)
    else:
        return None
    return row
