"""From trained weights to a network: of a run, or of a file to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vision_attn.recipe import read_model

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
    model = read_model(folder / "config.yaml").build(spec)
    load_weights(model, state)
    return model.eval(), spec


def start_from(model: Network, init: str | None) -> list[str]:
    """Load initial weights, if any, and list in words what had to be fitted or does not fit well.

    `init` is a run folder, a .safetensors file or a file of torch.save; a captioner may start from
    another one, or its encoder from a network that tells labels. Raises ValueError if it cannot be
    read, or does not fit.
    """
    from vision_attn.models.encoder import start_encoder
    from vision_attn.models.foreign import read_state
    from vision_attn.models.weights import load_weights

    if init is None:
        return []
    grid, said = None, []
    if Path(init).is_dir():
        earlier, spec = load_model(init)
        state, grid = earlier.state_dict(), getattr(earlier, "grid", None)
        if (spec.mean, spec.std) != (model.spec.mean, model.spec.std):
            said.append(
                f"init: trained with mean={spec.mean} and std={spec.std}, now the data has "
                f"{model.spec.mean} and {model.spec.std}; better set data.mean and data.std"
            )
    else:
        state = read_state(Path(init))
    load = start_encoder if _is_label_network(model, state) else load_weights
    return [*load(model, state, grid=grid), *said]


def _is_label_network(model: Network, state: Mapping[str, Any]) -> bool:
    """Tell a captioner that is given the weights of another kind of network."""
    return hasattr(model, "decoder") and not any(name.startswith("decoder.") for name in state)
