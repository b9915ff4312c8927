"""The settings of captioners; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.rules import Config

if TYPE_CHECKING:
    from vision_attn.models.captioner import Captioner
    from vision_attn.spec import Spec


@dataclass(frozen=True, kw_only=True)
class TimmConfig(Config):
    """Any network of timm that gives feature maps or patch tokens."""

    name: Literal["timm"] = "timm"
    network: str
    """timm's name, such as resnet50.a1_in1k or vit_small_patch16_224."""
    pretrained: bool = False
    """Load timm's weights for that name; downloads them where they are not at hand."""


@dataclass(frozen=True, kw_only=True)
class RetinaConfig(Config):
    """An eye instead of a map: patches of several scales around a centre, seen at every word."""

    name: Literal["retina"] = "retina"
    size: int = 12
    """Side of the patches, in samples; the finest one has a sample for each pixel."""
    scales: int = 3
    """Patches of growing extent, all of `size` samples."""
    growth: float = 2.0
    """Side of a patch over that of the next finer one, at least 1."""
    channels: tuple[int, ...] = (32, 64)
    """Width of the convolutions on the patches; each halves the side."""
    downsample: Literal["stride", "max"] = "stride"
    """How they halve it: by a stride of 2, or by the largest of 2x2 of a convolution that has seen
    every sample, at four times the cost."""

    def _broken(self) -> Iterator[str]:
        if min(self.size, self.scales, *self.channels, len(self.channels)) < 1:
            yield (
                f"size, scales and channels must be 1 or more, got {self.size}, {self.scales} and "
                f"{self.channels}"
            )
        if self.growth < 1:
            yield f"growth must be at least 1, got {self.growth}"

    @property
    def unseen(self) -> dict[str, Any]:
        """Give the setting that changes what weights compute, and that these do not show."""
        return {"growth": self.growth}


@dataclass(frozen=True, kw_only=True)
class TokensConfig(Config):
    """Sentences instead of images: an LSTM reads the words from both ends (Bahdanau 2015)."""

    name: Literal["tokens"] = "tokens"
    dim: int = 128
    """Width of words and, both directions together, of regions; even."""

    def _broken(self) -> Iterator[str]:
        if self.dim < 2 or self.dim % 2:
            yield f"dim must be a positive even number, got {self.dim}"


@dataclass(frozen=True, kw_only=True)
class LSTMDecoderConfig(Config):
    """An LSTM that looks at the regions before every word (Xu 2015, arXiv:1502.03044)."""

    name: Literal["lstm"] = "lstm"
    dim: int = 256
    """Width of words, regions and the LSTM."""
    score: Literal["cosine", "additive", "location", "general", "dot", "scaled_dot"] = "additive"
    """How the state is matched with a region."""
    heads: int = 1
    """Looks at once, each with its own projections; must divide dim."""
    window: Literal["everywhere", "monotonic", "predictive"] = "everywhere"
    """everywhere: global attention; monotonic: local-m, in reading order; predictive: local-p."""
    reach: int | None = None
    """Half side of a local window, in regions; default 2. None for everywhere."""
    pace: float | None = None
    """Regions that a monotonic window moves on with every word; default 1. None for the others."""
    look: Literal["soft", "hard", "gumbel"] = "soft"
    """soft: a weighted mean; hard: one region, learned by REINFORCE; gumbel: one region, learned by
    the straight-through Gumbel softmax."""
    order: Literal["read_first", "look_first"] = "read_first"
    """Whether the state that asks where to look has read the last word: read_first, it has (Luong
    2015); look_first, it has not (Bahdanau 2015, Xu 2015)."""
    gate: bool = True
    """Scale what is seen by a learned scalar in (0, 1)."""
    dropout: float = 0.0
    """Of word embeddings and before the output."""
    feed_dropout: float = 0.0
    """Probability, in training, that the LSTM is not told what was seen (and else 1/(1-p) times as
    much), drawn for every word of every caption. The output is always told: with order=read_first
    it then relies less on what an earlier look saw, and more on the look at its own word."""

    def _broken(self) -> Iterator[str]:
        yield from _broken_width(self.dim, self.heads, self.dropout)
        yield from _broken_feeding(self.feed_dropout)
        if self.window == "everywhere" and self.reach is not None:
            yield "reach belongs to a local window; leave it out for window=everywhere"
        if self.window != "monotonic" and self.pace is not None:
            yield f"pace belongs to window=monotonic, got window={self.window}"
        if self.reach is not None and self.reach < 1:
            yield f"reach must be 1 or more regions, got {self.reach}"
        if self.pace is not None and self.pace <= 0:
            yield f"pace must be positive, got {self.pace}"


@dataclass(frozen=True, kw_only=True)
class TransformerDecoderConfig(Config):
    """Causal self-attention over the words, cross-attention to the regions, in every block."""

    name: Literal["transformer"] = "transformer"
    dim: int = 256
    """Width of words and regions."""
    depth: int = 3
    """Number of blocks."""
    heads: int = 4
    """Of both attentions; must divide dim."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over dim."""
    dropout: float = 0.0
    """Of word embeddings, of every branch and before the output."""

    def _broken(self) -> Iterator[str]:
        yield from _broken_width(self.dim, self.heads, self.dropout)
        if self.depth < 1:
            yield f"depth must be 1 or more blocks, got {self.depth}"


@dataclass(frozen=True, kw_only=True)
class GlimpseDecoderConfig(Config):
    """An LSTM that moves the retina before every word, by a policy learned with REINFORCE.

    One that chooses among cells learns from expected values as well (task.expected_share).
    """

    name: Literal["glimpse"] = "glimpse"
    dim: int = 256
    """Width of words, glimpses and the LSTM."""
    policy: Literal["gaussian", "categorical"] = "gaussian"
    """gaussian: any place, around a mean that the state alone tells; categorical: the middle of a
    cell of a grid, by what a small copy of the image shows there."""
    grid: int | None = None
    """Cells a side that a categorical policy chooses from, no more than the image has pixels;
    default 8. None for gaussian."""
    sigma: float = 0.15
    """Standard deviation of the centre around its mean while training; the image is 2 wide. Of a
    gaussian policy."""
    sigma_final: float | None = None
    """Where sigma is at the end of the training, falling by equal factors; None to keep it. Chance
    has to bring the eye to what is named before it can be rewarded for going there."""
    order: Literal["read_first", "look_first"] = "read_first"
    """Whether the state that asks where to look has read the last word: read_first, it has (Luong
    2015); look_first, it has not (Bahdanau 2015, Xu 2015)."""
    gate: bool = True
    """Scale what is seen by a learned scalar in (0, 1)."""
    dropout: float = 0.0
    """Of word embeddings and before the output."""
    feed_dropout: float = 0.0
    """Probability, in training, that the LSTM is not told what was seen (and else 1/(1-p) times as
    much), drawn for every word of every caption. The output is always told: with order=read_first
    it then relies less on what an earlier look saw, and more on the look at its own word."""

    @property
    def cells(self) -> int | None:
        """Tell how many cells a side there are to choose from, if the policy has any."""
        return (self.grid or 8) if self.policy == "categorical" else None

    def _broken(self) -> Iterator[str]:
        yield from _broken_width(self.dim, 1, self.dropout)
        yield from _broken_feeding(self.feed_dropout)
        if self.grid is not None and self.policy != "categorical":
            yield f"grid belongs to policy=categorical, got policy={self.policy}; leave it out"
        if self.grid is not None and self.grid < 2:
            yield f"grid must be 2 or more cells a side, got {self.grid}"
        for name in ("sigma", "sigma_final"):
            if self.policy != "gaussian" and getattr(self, name) != getattr(type(self), name):
                yield f"{name} belongs to policy=gaussian, got policy={self.policy}; leave it out"
        if self.sigma <= 0 or (self.sigma_final is not None and self.sigma_final <= 0):
            yield f"sigma must be positive, got {self.sigma} and {self.sigma_final}"


@dataclass(frozen=True, kw_only=True)
class CaptionerConfig(Config):
    """An encoder that gives regions of an image, and a decoder that says what is on it."""

    name: Literal["captioner"] = "captioner"
    encoder: ViTConfig | ResNetConfig | TimmConfig | RetinaConfig | TokensConfig = field(
        default_factory=ResNetConfig
    )
    """What gives the regions; retina and the glimpse decoder belong together, and so do tokens and
    sentences to translate."""
    decoder: LSTMDecoderConfig | TransformerDecoderConfig | GlimpseDecoderConfig = field(
        default_factory=LSTMDecoderConfig
    )
    """What makes words of them."""
    positions: bool = True
    """Tell the decoder where a region lies, by 2-D sine-cosine positions; retina and tokens tell it
    in their own way."""
    freeze: bool = False
    """Keep the encoder as it started."""
    unfreeze_from: int | None = None
    """With freeze: the blocks (or stages) of the encoder from this one on learn all the same,
    counted from 1."""

    def _broken(self) -> Iterator[str]:
        eye, policy = self.encoder.name == "retina", self.decoder.name == "glimpse"
        if eye != policy:
            yield (
                f"encoder retina and decoder glimpse belong together, got {self.encoder.name} and "
                f"{self.decoder.name}"
            )
        if self.unfreeze_from is not None and not self.freeze:
            yield f"unfreeze_from belongs to freeze=true, got {self.unfreeze_from}; leave it out"
        if self.unfreeze_from is not None and self.unfreeze_from < 1:
            yield f"unfreeze_from counts from 1, got {self.unfreeze_from}"
        if self.encoder.name in ("retina", "tokens") and (self.freeze or not self.positions):
            yield f"freeze and positions are not for {self.encoder.name}; leave them out"

    @property
    def unseen(self) -> dict[str, Any]:
        """Give the settings that change what weights compute, and that these do not show."""
        encoder: dict[str, Any] = getattr(self.encoder, "unseen", {})
        decoder = {
            name: getattr(self.decoder, name)
            for name in ("heads", "order")
            if hasattr(self.decoder, name)
        }
        if isinstance(self.decoder, GlimpseDecoderConfig) and self.decoder.cells:
            decoder["grid"] = self.decoder.cells
        return (
            {f"encoder.{name}": value for name, value in encoder.items()}
            | {f"decoder.{name}": value for name, value in decoder.items()}
            | {"positions": self.positions}
        )

    def build(self, spec: Spec) -> Captioner:
        """Build the network with fresh weights from torch's global generator."""
        from vision_attn.models.captioner import Captioner

        return Captioner(self, spec)


def _broken_width(dim: int, heads: int, dropout: float) -> Iterator[str]:
    """Apply the rules that all decoders share."""
    if dim < 4 or dim % 4:
        yield f"dim must be a positive multiple of 4, got {dim}"
    if heads < 1 or dim % heads:
        yield f"heads must divide dim, got dim={dim} and heads={heads}"
    if not 0 <= dropout < 1:
        yield f"dropout must be in [0, 1), got {dropout}"


def _broken_feeding(probability: float) -> Iterator[str]:
    """Apply the rule that the decoders with an LSTM share."""
    if not 0 <= probability < 1:
        yield f"feed_dropout must be in [0, 1), got {probability}"
