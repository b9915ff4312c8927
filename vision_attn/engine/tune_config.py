"""The settings of what is trained and what stays; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Config):
    """What all ways to tune a network have in common."""

    freeze: tuple[str, ...] = ()
    """Parts and weights that stay as they are, by name: patch_embed, "blocks.[0-3]", "*.norm1"; an
    asterisk stands for anything. Parts that are frozen as a whole are as in evaluation."""

    def apply(self, model: nn.Module) -> list[str]:
        """Freeze and extend a model before it is trained; say in words how much of it will be.

        Draws fresh weights from torch's global generator. Raises ValueError if a name fits nothing.
        """
        from vision_attn.engine.tuning import tune

        return tune(model, self)


@dataclass(frozen=True, kw_only=True)
class FullConfig(TuneConfig):
    """Train all weights, but for those of `freeze`."""

    name: Literal["full"] = "full"


@dataclass(frozen=True, kw_only=True)
class LinearProbeConfig(TuneConfig):
    """Train the output layer alone, on what the frozen network gives it."""

    name: Literal["linear_probe"] = "linear_probe"


@dataclass(frozen=True, kw_only=True)
class LastBlocksConfig(TuneConfig):
    """Train the last blocks of a transformer, or stages of a ResNet, and all that follows them."""

    name: Literal["last_blocks"] = "last_blocks"
    blocks: int = 1
    """How many."""

    def _broken(self) -> Iterator[str]:
        if self.blocks < 1:
            yield f"blocks must be 1 or more, got {self.blocks}; for none take name=linear_probe"


@dataclass(frozen=True, kw_only=True)
class LoraConfig(TuneConfig):
    """Train the output layer, and beside frozen linear layers a change of low rank (LoRA).

    The kept weights have the changes added, so that they are those of a plain network.

    Hu 2022 (arXiv:2106.09685).
    """

    name: Literal["lora"] = "lora"
    rank: int = 8
    """Of each change."""
    alpha: float = 16.0
    """Changes are scaled by alpha / rank."""
    targets: tuple[str, ...] = ("blocks.*.attn", "blocks.*.mlp")
    """Linear layers, or parts whose linear layers are meant, named as in `freeze`."""

    def _broken(self) -> Iterator[str]:
        if self.rank < 1:
            yield f"rank must be 1 or more, got {self.rank}"
        if self.alpha <= 0:
            yield f"alpha must be positive, got {self.alpha}"
        if not self.targets:
            yield "targets must name linear layers, got none; for none take name=linear_probe"
