"""Vision transformers and ResNets: train them, see where they look, measure whether it is true.

The public names are found when they are first asked for, so importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision_attn.data.canvas_config import CanvasConfig
    from vision_attn.data.config import FolderConfig, ScenesConfig
    from vision_attn.data.loader import Loader, share
    from vision_attn.engine.config import TrainConfig
    from vision_attn.engine.loop import fit
    from vision_attn.engine.run import Run
    from vision_attn.explain.contract import Explainable
    from vision_attn.explain.methods import METHODS, METRICS
    from vision_attn.models.config import ResNetConfig, ViTConfig
    from vision_attn.models.glimpse import GlimpseNet
    from vision_attn.models.glimpse_config import GlimpseConfig
    from vision_attn.models.resnet import ResNet
    from vision_attn.models.retina import retina
    from vision_attn.models.vit import ViT
    from vision_attn.models.weights import load_weights
    from vision_attn.recipe import Recipe, read
    from vision_attn.report.compare import compare
    from vision_attn.spec import Spec
    from vision_attn.tape import Tape
    from vision_attn.tasks.classification import Classification
    from vision_attn.tasks.config import ClassificationConfig
    from vision_attn.trained import load_model

HOMES = {
    "METHODS": "explain.methods",
    "METRICS": "explain.methods",
    "CanvasConfig": "data.canvas_config",
    "Classification": "tasks.classification",
    "ClassificationConfig": "tasks.config",
    "Explainable": "explain.contract",
    "FolderConfig": "data.config",
    "GlimpseConfig": "models.glimpse_config",
    "GlimpseNet": "models.glimpse",
    "Loader": "data.loader",
    "Recipe": "recipe",
    "ResNet": "models.resnet",
    "ResNetConfig": "models.config",
    "Run": "engine.run",
    "ScenesConfig": "data.config",
    "Spec": "spec",
    "Tape": "tape",
    "TrainConfig": "engine.config",
    "ViT": "models.vit",
    "ViTConfig": "models.config",
    "compare": "report.compare",
    "fit": "engine.loop",
    "load_model": "trained",
    "load_weights": "models.weights",
    "read": "recipe",
    "retina": "models.retina",
    "share": "data.loader",
}
__all__ = [
    "METHODS",
    "METRICS",
    "CanvasConfig",
    "Classification",
    "ClassificationConfig",
    "Explainable",
    "FolderConfig",
    "GlimpseConfig",
    "GlimpseNet",
    "Loader",
    "Recipe",
    "ResNet",
    "ResNetConfig",
    "Run",
    "ScenesConfig",
    "Spec",
    "Tape",
    "TrainConfig",
    "ViT",
    "ViTConfig",
    "compare",
    "fit",
    "load_model",
    "load_weights",
    "read",
    "retina",
    "share",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in HOMES:
        raise AttributeError(f"module 'vision_attn' has no attribute {name!r}")
    return getattr(import_module(f"vision_attn.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *HOMES})
