"""The settings of made-up sentences; read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from vision_attn.data.batch import Data


@dataclass(frozen=True, kw_only=True)
class SequencesConfig(Config):
    """What sets of made-up pairs of sentences have in common; no download, nothing stored."""

    train: int = 20_000
    """Training pairs; the same in every epoch, or new ones (see `fresh`)."""
    valid: int = 1_000
    """Validation pairs, which choose the best weights."""
    test: int = 1_000
    """Test pairs, which nothing but `evaluate` and `compare` reads."""
    fresh: bool = True
    """Make new pairs in every epoch instead of repeating the first."""
    seed: int = 0
    """Of the pairs, not of the run: the same seed gives the same pairs anywhere."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""

    def _broken(self) -> Iterator[str]:
        for name in ("train", "valid", "test"):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more pairs, got {getattr(self, name)}"
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                yield f"{name} must be 0 or more, got {getattr(self, name)}"


@dataclass(frozen=True, kw_only=True)
class ReversalConfig(SequencesConfig):
    """Rows of letters, to be said backwards."""

    name: Literal["reversal"] = "reversal"
    letters: int = 26
    """Of the alphabet, the first so many."""
    shortest: int = 4
    """Letters of the shortest rows."""
    longest: int = 20
    """Letters of the longest rows."""

    def _broken(self) -> Iterator[str]:
        yield from super()._broken()
        if not 2 <= self.letters <= 26:
            yield f"letters must be in [2, 26], got {self.letters}"
        if not 1 <= self.shortest <= self.longest:
            yield (
                f"shortest must be in [1, longest], got shortest={self.shortest} and "
                f"longest={self.longest}"
            )

    def build(self) -> Data:
        """Open the data set: specification and the three splits."""
        from vision_attn.data.sequences import build_reversal

        return build_reversal(self)


@dataclass(frozen=True, kw_only=True)
class DatesConfig(SequencesConfig):
    """Days of 1900 to 2099 as people write them, to be said as year, month and day in digits."""

    name: Literal["dates"] = "dates"

    def build(self) -> Data:
        """Open the data set: specification and the three splits."""
        from vision_attn.data.sequences import build_dates

        return build_dates(self)
