"""What the data promises to the model, and what travels with the weights."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from vision_attn.rules import hold


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Say how images arrive and what the outputs mean: all a model needs to know of the data.

    Saved beside the weights as `spec.json`, so preprocessing travels with them.
    """

    image_size: tuple[int, int]
    """Pixels, (rows, columns), after all transforms."""
    names: tuple[str, ...]
    """One name for each output of the model, in order."""
    channels: int = 3
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Subtracted from images in [0, 1], one a channel."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Divides what is left, one a channel."""
    crop: float = 1.0
    """Share of the shorter side that the central crop keeps in evaluation, (0, 1]."""
    interpolation: str = "bilinear"
    """Resampling used when an image is brought to `image_size`: bilinear, bicubic or nearest."""
    several: bool = False
    """An image may bear any number of the names, or none, instead of exactly one."""

    def __post_init__(self) -> None:
        hold(self._broken())

    def _broken(self) -> Iterator[str]:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            yield (
                f"mean and std need one number a channel, got channels={self.channels}, "
                f"mean={self.mean} and std={self.std}"
            )
        if min(self.image_size) < 1:
            yield f"image_size must be positive pixels, got {self.image_size}"
        if not 0 < self.crop <= 1:
            yield f"crop must be in (0, 1], got {self.crop}"

    @property
    def outputs(self) -> int:
        """Count the outputs a model needs."""
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Give plain lists and numbers, ready for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, entries: dict[str, Any]) -> "Spec":
        """Read what `to_dict` gave."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()
        }
        return cls(**fields)
