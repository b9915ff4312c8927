"""The settings of every network; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vision_attn.rules import Config

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
class ViTConfig(Config):
    """A Vision Transformer (Dosovitskiy 2021, arXiv:2010.11929) with the field's usual settings."""

    name: Literal["vit"] = "vit"
    size: Literal["Pico", "Nano", "Ti", "S", "B", "L", "H"] = "S"
    """Sets dim, depth and heads where these are not given; Pico, Nano: 28-64 pixels."""
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
    """Pixels a token covers a side; default 16, or 4 for images below 96 pixels. The conv tokenizer
    has one layer for each prime factor of it."""
    position: Literal["learned", "sincos", "rotary", "none"] = "learned"
    """Positional embedding: learned table, fixed 2-D sine-cosine, axial rotary in attention."""
    pool: Literal["cls", "mean", "attention", "sequence"] = "cls"
    """What the head reads: class token, mean of the patches, a learned query (MAP), CCT's."""
    fc_norm: bool = False
    """With mean pooling: normalise the mean instead of the tokens before it."""
    distilled: bool = False
    """A distillation token with its own head (DeiT); logits are the mean of both heads."""
    registers: int = 0
    """Register tokens (Darcet 2024): give attention sinks a place outside the image."""
    prefix_position: bool = True
    """Whether prefix tokens (class, distillation, registers) have positions, too."""
    qkv_bias: bool = True
    """A bias on queries, keys and values."""
    qk_norm: bool = False
    """LayerNorm on queries and keys of each head."""
    norm_eps: float = 1e-6
    """Added to the variance in every LayerNorm; 1e-12 in ViT and DeiT of transformers."""
    layer_scale: float | None = None
    """Initial LayerScale; None for no LayerScale."""
    drop_path: float = 0.0
    """Stochastic depth of the last block; earlier blocks rise to it linearly."""
    dropout: float = 0.0
    """Dropout after the position is added, in projections and in the MLP."""
    attention_dropout: float = 0.0
    """Dropout on the weights of attention."""

    def _broken(self) -> Iterator[str]:
        dim, depth, heads = self.shape
        if min(dim, depth, heads) < 1:
            yield f"dim, depth and heads must be positive, got {dim}, {depth} and {heads}"
        elif dim % heads:
            yield f"heads must divide dim, got dim={dim} and heads={heads}"
        elif self.position == "rotary" and dim // heads % 4:
            yield f"rotary positions need dim / heads to be divisible by 4, got {dim // heads}"
        if self.position == "sincos" and dim % 4:
            yield f"sincos positions need dim divisible by 4, got dim={dim}"
        if self.distilled and self.pool != "cls":
            yield (
                f"distilled reads the class and distillation tokens: set pool=cls, got {self.pool}"
            )
        if self.patch_size is not None and self.patch_size < 1:
            yield f"patch_size must be at least 1 pixel, got {self.patch_size}"
        if self.tokenizer == "conv" and self.patch_size == 1:
            yield "the conv tokenizer pools: patch_size must be at least 2, got 1"
        if self.fc_norm and self.pool != "mean":
            yield f"fc_norm belongs to pool=mean, got pool={self.pool}; leave it out"
        if self.norm_eps <= 0:
            yield f"norm_eps must be positive, got {self.norm_eps}"
        if self.registers < 0:
            yield f"registers must be 0 or more, got {self.registers}"
        for name in ("drop_path", "dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                yield f"{name} must be in [0, 1), got {getattr(self, name)}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Resolve (dim, depth, heads) from size and what was given."""
        dim, depth, heads = SIZES[self.size]
        dim = self.dim if self.dim is not None else dim
        depth = self.depth if self.depth is not None else depth
        return dim, depth, self.heads if self.heads is not None else heads

    @property
    def unseen(self) -> dict[str, Any]:
        """Give the settings that change what weights compute, and that these do not show."""
        shown = {} if self.position == "learned" else {"position": self.position}
        return {"heads": self.shape[2], "norm_eps": self.norm_eps} | shown

    def patch_size_for(self, image_size: tuple[int, int]) -> int:
        """Resolve the patch size for images of (rows, columns) pixels."""
        if self.patch_size is not None:
            return self.patch_size
        return 4 if min(image_size) < 96 else 16

    def build(self, spec: Spec) -> ViT:
        """Build the network with fresh weights from torch's global generator."""
        from vision_attn.models.vit import ViT

        return ViT(self, spec)


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(Config):
    """A residual network (He 2016, arXiv:1512.03385): timm's, behind the same contract."""

    name: Literal["resnet"] = "resnet"
    block: Literal["basic", "bottleneck"] = "basic"
    """basic: two 3x3 convolutions; bottleneck: 1x1, 3x3 and 1x1, four times as wide outside."""
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Blocks of the four stages; (2, 2, 2, 2) basic is ResNet-18, (3, 4, 6, 3) bottleneck is 50."""
    channels: tuple[int, ...] = (64, 128, 256, 512)
    """Width of the four stages, before a bottleneck's expansion by 4."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """imagenet: 7x7 stride 2 and max-pool (1/4 of the size); small: one 3x3, for 28-64 pixels."""
    stem_stride: Literal[1, 2] = 1
    """Stride of the small stem."""
    strides: tuple[int, ...] = (1, 2, 2, 2)
    """Of the four stages, 1 or 2; fewer twos give finer maps for more work."""
    downsample: Literal["stride", "average"] = "stride"
    """How a stage halves the map: stride, as in the paper, by skipping every other position, and a
    position then sees up and left of its middle; average, by means of 2x2, it sees around it. The
    stem strides in any case: imagenet sees 1.5 pixels up and left, stem_stride=2 half a pixel."""
    drop_path: float = 0.0
    """Stochastic depth of the last block; earlier blocks rise to it linearly."""
    dropout: float = 0.0
    """Dropout before the classifier."""

    def _broken(self) -> Iterator[str]:
        if len(self.depths) != 4 or len(self.channels) != 4:
            yield (
                f"depths and channels need four numbers, one a stage, got depths={self.depths} and "
                f"channels={self.channels}"
            )
        elif min(self.depths + self.channels) < 1:
            yield f"depths and channels must be positive, got {self.depths} and {self.channels}"
        if len(self.strides) != 4 or self.strides[0] != 1 or not {*self.strides} <= {1, 2}:
            yield f"strides need four numbers, 1 and then 1s or 2s, got {self.strides}"
        elif self.downsample == "average" and 2 not in self.strides:
            yield f"downsample=average needs a stride of 2, got {self.strides}; leave it out"
        if self.channels and self.channels[0] % 2:
            yield f"the first stage needs an even width, got channels={self.channels}"
        if self.stem == "imagenet" and self.stem_stride != 1:
            yield "stem_stride belongs to stem=small; leave it out for stem=imagenet"
        for name in ("drop_path", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                yield f"{name} must be in [0, 1), got {getattr(self, name)}"

    @property
    def unseen(self) -> dict[str, Any]:
        """Give the settings that change what weights compute, and that these do not show."""
        return {"stem_stride": self.stem_stride, "strides": list(self.strides)}

    def build(self, spec: Spec) -> ResNet:
        """Build the network with fresh weights from torch's global generator."""
        from vision_attn.models.resnet import ResNet

        return ResNet(self, spec)
