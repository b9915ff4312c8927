"""What is known of a scene: its objects with boxes and masks, its background, its captions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8


@dataclass(frozen=True)
class Object:
    """One object of a scene."""

    shape: str
    colour: str
    size: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the visible pixels; right and bottom are one past the last."""
    mask: Bool[np.ndarray, "height width"]
    """Its visible pixels."""
    hides: tuple[int, ...]
    """Indices of the objects behind it that it covers in part, so that one sees it."""


@dataclass(frozen=True)
class Scene:
    """A drawn scene and all that is known of it."""

    image: UInt8[np.ndarray, "height width channel"]
    label: int
    main: int
    """Index of the object that the label names: the largest visible one."""
    objects: tuple[Object, ...]
    """Back to front."""
    tone: str
    """Of the background: dark or light."""
    texture: str
    """Of the background."""
    captions: tuple[str, ...] = ()
    """Five different true sentences, in the language of `grammar`."""
