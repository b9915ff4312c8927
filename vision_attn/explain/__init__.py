"""Where a network looks, and whether that is true: explainers are functions, metrics too.

The public names are found when they are first asked for: one explainer does not import them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision_attn.explain.adapted import adapt
    from vision_attn.explain.localisation import LOCALISATION
    from vision_attn.explain.methods import BASELINES, METHODS, METRICS, SIGNED

HOMES = {
    "BASELINES": "methods",
    "LOCALISATION": "localisation",
    "METHODS": "methods",
    "METRICS": "methods",
    "SIGNED": "methods",
    "adapt": "adapted",
}
__all__ = ["BASELINES", "LOCALISATION", "METHODS", "METRICS", "SIGNED", "adapt"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
