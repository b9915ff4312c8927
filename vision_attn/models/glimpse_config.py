"""The settings of the network with a moving eye; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from vision_attn.models.glimpse import GlimpseNet
    from vision_attn.spec import Spec

SAMPLED = ("gaussian", "categorical")
"""Policies that learn from rewards."""
SOFT = ("draw", "spatial_transformer")
"""Eyes whose place, and width, learn by gradients through what they read."""


@dataclass(frozen=True, kw_only=True)
class GlimpseConfig(Config):
    """A recurrent network that takes a few glimpses of an image (Mnih 2014, arXiv:1406.6247)."""

    name: Literal["glimpse"] = "glimpse"
    glimpses: int = 6
    """How often it looks."""
    size: int = 8
    """Samples a side of a patch; the finest has one a pixel."""
    scales: int = 1
    """Patches of a glimpse, each wider than the last; 1 for draw and spatial_transformer."""
    growth: float = 2.0
    """Width of a patch over that of the next finer one, at least 1."""
    channels: tuple[int, ...] = ()
    """Widths of convolutions on the patches, each of which halves the side; none, as in the paper,
    for linear layers."""
    policy: Literal[
        "gaussian", "categorical", "random", "centre", "draw", "spatial_transformer"
    ] = "gaussian"
    """What moves the eye. gaussian, categorical (over a grid): sampled, learned by REINFORCE;
    random, centre: not learned; draw (Gregor 2015), spatial_transformer (Jaderberg 2015): a window
    of learned place and width, differentiable."""
    first: Literal["centre", "random", "context"] = "centre"
    """First place: the middle, anywhere, or chosen from a small copy of the image (Ba 2015). Of the
    windows, which begin with the whole image, centre."""
    sigma: float = 0.15
    """Standard deviation of a gaussian policy around its mean; the image is 2 wide."""
    sigma_final: float | None = None
    """Where sigma is at the end of the training, falling by equal factors; None to keep it."""
    grid: int = 8
    """Places a side that a categorical policy chooses from."""
    temperature_final: float = 0.5
    """Where the temperature of a categorical policy's pathwise gradient is at the end of the
    training, falling from 1 by equal factors."""
    core: Literal["rnn", "lstm", "transformer"] = "lstm"
    """What joins the glimpses; the transformer looks back at all of them."""
    hidden: int = 256
    """Width of the core and of a glimpse's features; what and where have half of it each."""
    depth: int = 1
    """Blocks of a transformer core."""
    heads: int = 4
    """Of a transformer core; must divide hidden."""
    stop: bool = False
    """Learn to tell when enough has been seen; what a glimpse costs is a setting of the task."""

    def _broken(self) -> Iterator[str]:
        for name in ("glimpses", "size", "scales", "grid", "depth", "heads"):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more, got {getattr(self, name)}"
        if self.channels and min(self.channels) < 1:
            yield f"channels must be 1 or more each, got {self.channels}"
        if self.growth < 1:
            yield f"growth must be at least 1, got {self.growth}"
        if self.hidden < 2 or self.hidden % 2:
            yield f"hidden must be a positive even number, got {self.hidden}"
        if self.heads > 0 and self.core == "transformer" and self.hidden % self.heads:
            yield f"heads must divide hidden, got hidden={self.hidden} and heads={self.heads}"
        if self.depth > 1 and self.core != "transformer":
            yield f"depth belongs to core=transformer, got depth={self.depth} and core={self.core}"
        yield from self._broken_policy()

    def _broken_policy(self) -> Iterator[str]:
        if self.policy in SOFT and (self.scales != 1 or self.first != "centre"):
            yield (
                f"policy={self.policy} reads one patch and begins with the whole image: leave "
                f"scales and first out, got scales={self.scales} and first={self.first}"
            )
        if self.policy not in SAMPLED and self.first == "context":
            yield f"first=context needs a policy that learns from rewards, got {self.policy}"
        if self.policy == "centre" and self.first != "centre":
            yield f"policy=centre never looks elsewhere, got first={self.first}; leave it out"
        if self.sigma <= 0 or (self.sigma_final is not None and self.sigma_final <= 0):
            yield f"sigma must be positive, got {self.sigma} and {self.sigma_final}"
        if self.sigma_final is not None and self.policy != "gaussian":
            yield f"sigma_final belongs to policy=gaussian, got policy={self.policy}"
        if not 0 < self.temperature_final <= 1:
            yield f"temperature_final must be in (0, 1], got {self.temperature_final}"

    def build(self, spec: Spec) -> GlimpseNet:
        """Build the network with fresh weights from torch's global generator."""
        from vision_attn.models.glimpse import GlimpseNet

        return GlimpseNet(self, spec)
