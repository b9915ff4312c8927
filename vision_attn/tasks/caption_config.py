"""The settings of the captioning task; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from torch import nn

    from vision_attn.spec import Spec
    from vision_attn.tasks.captioning import Captioning


@dataclass(frozen=True, kw_only=True)
class CaptioningConfig(Config):
    """Captions: log-likelihood or CIDEr-D, and what teaches looks; scores of free-running ones."""

    name: Literal["captioning"] = "captioning"
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all words, [0, 1)."""
    own_words: float = 0.0
    """Scheduled sampling (Bengio 2015): probability, at the end of the training, that the decoder
    hears a word of its own instead of the given one; it rises linearly from 0."""
    doubly_stochastic: float = 0.0
    """Weight of the sum over regions of (target - sum of looks over words)^2; 1 in Xu 2015."""
    attention_target: Literal["one", "share"] = "one"
    """one: as in the paper; share: words / regions, which a caption can reach."""
    reinforce: float = 0.1
    """Weight of the gradient through drawn looks: decoders with look=hard, and glimpse."""
    reward: Literal["caption", "rest"] = "rest"
    """Log-probability that a drawn look is credited with: of the whole caption, as in the paper, or
    of the words from it on, which varies less and is the same in the mean."""
    rollouts: int = 1
    """Times that every caption is gone through, with looks drawn anew. From 2 on, the reward of a
    look is held against the mean of the same caption's other times (Kool 2019), and not against the
    moving average of look=hard or the value that the glimpse decoder expects."""
    entropy: float = 0.002
    """Weight of the entropy of hard looks."""
    expected_share: float = 0.5
    """Share of the images for which the expected value stands in for drawn looks, [0, 1]; look=hard
    and glimpses of a categorical policy."""
    value: float = 0.1
    """Weight of the squared error of the baseline that the glimpse decoder learns."""
    temperature_final: float = 0.5
    """Where the temperature of look=gumbel ends, (0, 1]; it falls linearly from 1."""
    self_critical: Literal["none", "greedy", "leave_one_out"] = "none"
    """Learn from the CIDEr-D of drawn captions (Rennie 2017) instead of given ones; over that of
    the greedy caption, or over the mean of the other draws. For looks that are not drawn."""
    samples: int = 5
    """Captions drawn of an image; self_critical only."""
    beams: int = 1
    """Width of the beam search in evaluations; 1 is greedy."""
    penalty: float = 0.0
    """Length penalty of the beam search, 0 or more (Wu 2016)."""
    monitor: Literal["cider_d", "bleu4", "exact"] = "cider_d"
    """Which number of the evaluations decides which weights are best; exact: the share of captions
    that are true of a drawn scene, or elsewhere word for word a given one."""
    longest: int = 30
    """Words, the end included, after which generated captions are cut."""

    def _broken(self) -> Iterator[str]:
        for name in ("own_words", "expected_share"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name} must be in [0, 1], got {getattr(self, name)}"
        for name in ("doubly_stochastic", "reinforce", "entropy", "value", "penalty"):
            if getattr(self, name) < 0:
                yield f"{name} must be 0 or more, got {getattr(self, name)}"
        for name in ("beams", "longest", "samples", "rollouts"):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more, got {getattr(self, name)}"
        if not 0 <= self.label_smoothing < 1:
            yield f"label_smoothing must be in [0, 1), got {self.label_smoothing}"
        if not 0 < self.temperature_final <= 1:
            yield f"temperature_final must be in (0, 1], got {self.temperature_final}"
        if self.self_critical == "leave_one_out" and self.samples < 2:
            yield f"self_critical=leave_one_out needs samples of 2 or more, got {self.samples}"
        given = self.label_smoothing or self.own_words or self.doubly_stochastic
        if self.self_critical != "none" and given:
            yield (
                "label_smoothing, own_words and doubly_stochastic are for given captions, and "
                f"self_critical={self.self_critical} has none; leave them out"
            )

    def build(self, model: nn.Module, spec: Spec) -> Captioning:
        """Wrap the model with its loss and evaluation."""
        from vision_attn.tasks.captioning import Captioning

        return Captioning(self, model, spec)
