"""A call of PyTorch's attention, with its arguments by name."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Call(NamedTuple):
    """The arguments of scaled_dot_product_attention, however they were given."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    def run(self) -> Tensor:
        """Attend."""
        return F.scaled_dot_product_attention(
            self.query,
            self.key,
            self.value,
            self.attn_mask,
            self.dropout_p,
            self.is_causal,
            scale=self.scale,
            enable_gqa=self.enable_gqa,
        )

    @property
    def factor(self) -> float:
        """What the products of queries and keys are multiplied by."""
        return self.query.shape[-1] ** -0.5 if self.scale is None else self.scale
