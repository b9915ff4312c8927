"""The settings of multi-label classification; read before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vision_attn.rules import Config

if TYPE_CHECKING:
    from torch import nn

    from vision_attn.spec import Spec
    from vision_attn.tasks.multilabel import Multilabel


@dataclass(frozen=True, kw_only=True)
class MultilabelConfig(Config):
    """Any number of labels an image: binary cross-entropy, mean average precision."""

    name: Literal["multilabel"] = "multilabel"

    def build(self, model: nn.Module, spec: Spec) -> Multilabel:
        """Wrap the model with its loss and evaluation."""
        from vision_attn.tasks.multilabel import Multilabel

        return Multilabel(model, spec)
