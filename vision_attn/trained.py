"""From the folder of a run to its network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vision_attn.recorded import CONFIG, read_past

if TYPE_CHECKING:
    from vision_attn.models.captioner import Captioner
    from vision_attn.models.glimpse import GlimpseNet
    from vision_attn.models.resnet import ResNet
    from vision_attn.models.vit import ViT
    from vision_attn.spec import Spec

    Network: TypeAlias = ViT | ResNet | Captioner | GlimpseNet


def load_model(folder: str | Path) -> tuple[Network, Spec]:
    """Load the best weights of a run, in evaluation mode on the CPU, and what its data promised.

    Raises ValueError if the folder holds no finished evaluation, or weights of another model.
    """
    from vision_attn.engine.checkpoint import load_weights as read_weights
    from vision_attn.models.weights import load_weights

    folder = Path(folder)
    weights = folder / "best.safetensors"
    if not weights.exists():
        raise ValueError(f"{folder} is no run with weights: {weights} is missing; train it first")
    state, spec = read_weights(weights)
    model = read_past(folder / CONFIG).model.build(spec)
    if changes := load_weights(model, state):
        raise ValueError(f"{weights} must fit {folder / CONFIG}: {'; '.join(changes)}")
    return model.eval(), spec
