"""Where a network looks, and whether that is true: explainers are functions, metrics too.

The public names are found when they are first asked for: one explainer does not import them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision_attn.explain.adapted import adapt
    from vision_attn.explain.localisation import LOCALISATION
    from vision_attn.explain.methods import BASELINES, CHECKS, METHODS, METRICS, SIGNED
    from vision_attn.explain.targets import Scored, predicted
    from vision_attn.explain.word import Word

HOMES = {
    "BASELINES": "methods",
    "CHECKS": "methods",
    "LOCALISATION": "localisation",
    "METHODS": "methods",
    "METRICS": "methods",
    "SIGNED": "methods",
    "Scored": "targets",
    "Word": "word",
    "adapt": "adapted",
    "predicted": "targets",
}
__all__ = [
    "BASELINES",
    "CHECKS",
    "LOCALISATION",
    "METHODS",
    "METRICS",
    "SIGNED",
    "Scored",
    "Word",
    "adapt",
    "predicted",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
