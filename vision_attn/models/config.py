"""The settings of every network; read and checked before torch is imported, so imports are local."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vision_attn.models.resnet import ResNet
    from vision_attn.models.vit import ViT
    from vision_attn.spec import Spec

SIZES = {  # name: (dim, depth, heads)
    "Pico": (64, 4, 2),
    "Nano": (128, 6, 4),
    "Ti": (192, 12, 3),
    "S": (384, 12, 6),
    "B": (768, 12, 12),
    "L": (1024, 24, 16),
    "H": (1280, 32, 16),
}


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """A Vision Transformer (Dosovitskiy 2021, arXiv:2010.11929) with the field's usual settings."""

    name: Literal["vit"] = "vit"
    size: Literal["Pico", "Nano", "Ti", "S", "B", "L", "H"] = "S"
    """Sets dim, depth and heads where these are not given; Pico and Nano suit 28-64 pixel images."""
    dim: int | None = None
    """Width of a token."""
    depth: int | None = None
    """Number of blocks."""
    heads: int | None = None
    """Attention heads; must divide dim."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over dim."""
    tokenizer: Literal["patch", "conv"] = "patch"
    """patch: one linear map of each patch; conv: conv, ReLU, max-pool, repeated (CCT)."""
    patch_size: int | None = None
    """Pixels a token covers a side; default 16, or 4 for images below 96 pixels. For the conv
    tokenizer a power of 2: each of its layers halves the image."""
    position: Literal["learned", "sincos", "rotary", "none"] = "learned"
    """Positional embedding: learned table, fixed 2-D sine-cosine, axial rotary in attention."""
    pool: Literal["cls", "mean", "attention", "sequence"] = "cls"
    """What the head reads: class token, mean of the patches, a learned query (MAP), CCT's pooling."""
    distilled: bool = False
    """A distillation token with its own head (DeiT); logits are the mean of both heads."""
    registers: int = 0
    """Register tokens (Darcet 2024): give attention sinks a place outside the image."""
    prefix_position: bool = True
    """Whether the learned table also has rows for the prefix tokens (class, distillation)."""
    qkv_bias: bool = True
    qk_norm: bool = False
    """LayerNorm on queries and keys of each head."""
    layer_scale: float | None = None
    """Initial LayerScale; None for no LayerScale."""
    drop_path: float = 0.0
    """Stochastic depth of the last block; earlier blocks rise to it linearly."""
    dropout: float = 0.0
    """Dropout after the position is added, in projections and in the MLP."""
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        dim, depth, heads = self.shape
        if min(dim, depth, heads) < 1:
            raise ValueError(
                f"dim, depth and heads must be positive, got dim={dim}, depth={depth}, heads={heads}"
            )
        if dim % heads:
            raise ValueError(f"heads must divide dim, got dim={dim} and heads={heads}")
        if self.position == "rotary" and dim // heads % 4:
            raise ValueError(
                f"rotary positions need a head width (dim / heads) divisible by 4, got {dim // heads}"
            )
        if self.position == "sincos" and dim % 4:
            raise ValueError(f"sincos positions need dim divisible by 4, got dim={dim}")
        if self.distilled and self.pool != "cls":
            raise ValueError(
                f"distilled reads the class and distillation tokens: set pool=cls, got {self.pool}"
            )
        if self.patch_size is not None and self.patch_size < 1:
            raise ValueError(f"patch_size must be a positive number of pixels, got {self.patch_size}")
        if self.tokenizer == "conv" and (self.patch_size or 4).bit_count() != 1:
            raise ValueError(
                f"the conv tokenizer halves the image layer by layer: patch_size must be a power of "
                f"2, got {self.patch_size}"
            )
        if not self.registers >= 0:
            raise ValueError(f"registers must be 0 or more, got {self.registers}")
        for name in ("drop_path", "dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Resolve (dim, depth, heads) from size and what was given."""
        dim, depth, heads = SIZES[self.size]
        dim = self.dim if self.dim is not None else dim
        depth = self.depth if self.depth is not None else depth
        return dim, depth, self.heads if self.heads is not None else heads

    def build(self, spec: Spec) -> ViT:
        """Build the network with fresh weights from torch's global generator."""
        from vision_attn.models.vit import ViT

        return ViT(self, spec)


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """A residual network (He 2016, arXiv:1512.03385): timm's, behind the same contract."""

    name: Literal["resnet"] = "resnet"
    block: Literal["basic", "bottleneck"] = "basic"
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks of the four stages; (2, 2, 2, 2) basic is ResNet-18, (3, 4, 6, 3) bottleneck is 50."""
    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Width of the four stages, before a bottleneck's expansion by 4."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """imagenet: 7x7 stride 2 and max-pool (1/4 of the size); small: 3x3 stride 1, for 28-64 pixels."""
    drop_path: float = 0.0
    """Stochastic depth of the last block; earlier blocks rise to it linearly."""
    dropout: float = 0.0
    """Dropout before the classifier."""

    def __post_init__(self) -> None:
        if len(self.depths) != 4 or len(self.channels) != 4:
            raise ValueError(
                f"depths and channels need four numbers, one a stage, got depths={self.depths} and "
                f"channels={self.channels}"
            )
        if min(self.depths + self.channels) < 1:
            raise ValueError(
                f"depths and channels must be positive, got {self.depths} and {self.channels}"
            )
        for name in ("drop_path", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    def build(self, spec: Spec) -> ResNet:
        """Build the network with fresh weights from torch's global generator."""
        from vision_attn.models.resnet import ResNet

        return ResNet(self, spec)
