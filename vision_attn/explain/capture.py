"""Attention of any network, written down while it runs, with nothing changed in the network."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vision_attn.explain.call import Call
from vision_attn.explain.ending import Enough, only_looks_now
from vision_attn.explain.frozen import eagerly
from vision_attn.tape import Attended

_MULTIHEAD = inspect.signature(F.multi_head_attention_forward)
_MULTIHEAD_TAKEN = {
    "embed_dim_to_check",
    "num_heads",
    "in_proj_weight",
    "in_proj_bias",
    "dropout_p",
    "out_proj_weight",
    "out_proj_bias",
    "training",
    "need_weights",
    "average_attn_weights",
}


@contextmanager
def recorded(network: nn.Module) -> Iterator[list[Attended]]:
    """Record every scaled dot-product attention that runs meanwhile, in order.

    Layers of timm that would write their softmax out take the fused function for the time being;
    both agree to rounding. Outputs stay in the graph. A layer that only looks ends what runs, with
    its value in the place of the output.
    """
    written_out: list[Any] = [
        module for module in network.modules() if getattr(module, "fused_attn", None) is False
    ]
    records: list[Attended] = []
    try:
        for module in written_out:
            module.fused_attn = True
        with eagerly(), _Recorder(records):
            yield records
    finally:
        for module in written_out:
            module.fused_attn = False


class _Recorder(TorchFunctionMode):
    # A mode sees functions wherever they were imported to, is local to its thread, and makes
    # nn.MultiheadAttention leave its fast path, which shows nothing.
    def __init__(self, records: list[Attended]):
        super().__init__()
        self.records = records

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(Call(*args, **kwargs))
        if func is F.multi_head_attention_forward:
            return self._attend_with_projections(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(self, call: Call) -> Float[Tensor, "batch head query value_dim"]:
        if call.is_causal or call.enable_gqa or call.query.ndim != 4:
            raise ValueError(
                f"attention can be recorded with one key head a query head, every key in sight and "
                f"shape (batch, head, token, dim), got enable_gqa={call.enable_gqa}, "
                f"is_causal={call.is_causal} and shape {tuple(call.query.shape)}; use grad_cam"
            )
        bias = call.attn_mask
        if bias is not None and bias.dtype == torch.bool:
            hidden = ~bias
            bias = torch.zeros_like(bias, dtype=call.query.dtype).masked_fill(hidden, -torch.inf)
        looked = call.query, call.key, call.value
        last = only_looks_now()  # and then nobody asks for the output
        output = call.value if last else call.run()
        self.records.append(Attended(*looked, output, call.factor, bias))
        if last:
            raise Enough
        return output

    def _attend_with_projections(
        self, *args: Any, **kwargs: Any
    ) -> tuple[Float[Tensor, "token batch dim"], Tensor | None]:
        """Do what nn.MultiheadAttention does, for self-attention without masks."""
        bound = _MULTIHEAD.bind(*args, **kwargs).arguments
        tokens = bound.pop("query")
        same = bound.pop("key") is tokens and bound.pop("value") is tokens
        other = [name for name in bound.keys() - _MULTIHEAD_TAKEN if _is_set(bound[name])]
        if not same or other or bound["in_proj_weight"] is None:
            raise ValueError(
                f"nn.MultiheadAttention can be recorded as self-attention of one width without "
                f"masks, got {'cross-attention' if not same else sorted(other)}; use grad_cam"
            )
        qkv = F.linear(tokens, bound["in_proj_weight"], bound["in_proj_bias"])
        qkv = qkv.unflatten(-1, (3, bound["num_heads"], -1)).permute(2, 1, 3, 0, 4)
        query, key, value = qkv.unbind(0)
        dropout = bound["dropout_p"] if bound["training"] else 0.0
        output = self._attend(Call(query, key, value, dropout_p=dropout))
        output = output.permute(2, 0, 1, 3).flatten(2)
        output = F.linear(output, bound["out_proj_weight"], bound["out_proj_bias"])
        if not bound.get("need_weights", True):
            return output, None
        weights = self.records[-1].weights()
        return output, weights.mean(1) if bound.get("average_attn_weights", True) else weights


def _is_set(value: object) -> bool:
    return value is not None and value is not False
