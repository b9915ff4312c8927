"""Cores: what they keep, and a cached transformer against one that sees all at once."""

import pytest
import torch
from torch import nn

from vision_attn.attention.multihead import causal_bias
from vision_attn.models.core import LSTMCore, RecurrentCore, TransformerCore

GLIMPSES = torch.randn(5, 3, 12, generator=torch.Generator().manual_seed(6))
"""Step, batch, dim."""


def states(core):
    memory, found = core.start(GLIMPSES[0]), []
    for glimpse in GLIMPSES:
        memory = core(glimpse, memory)
        found.append(memory[0])
    return torch.stack(found)


@pytest.mark.parametrize("core", [RecurrentCore(12), LSTMCore(12), TransformerCore(12, 2, 3, 5)])
def test_a_state_depends_on_all_glimpses_so_far_and_on_none_to_come(core):
    glimpses = GLIMPSES.clone().requires_grad_()
    memory, found = core.start(glimpses[0]), []
    for glimpse in glimpses:
        memory = core(glimpse, memory)
        found.append(memory[0])
    (gradient,) = torch.autograd.grad(found[2].square().sum(), glimpses)
    assert [bool(step.abs().sum() > 0) for step in gradient] == [True, True, True, False, False]
    assert core.start(GLIMPSES[0])[0].abs().sum() == 0


def test_the_lstm_is_torchs_over_a_sequence():
    core = LSTMCore(12)
    whole = nn.LSTM(12, 12)
    whole.load_state_dict({f"{name}_l0": value for name, value in core.cell.state_dict().items()})
    torch.testing.assert_close(states(core), whole(GLIMPSES)[0])


def test_the_recurrent_core_is_equation_by_equation():
    core, state, expected = RecurrentCore(12), torch.zeros(3, 12), []
    for glimpse in GLIMPSES:
        state = (core.state.weight @ state.T + core.state.bias[:, None]).T
        state = (state + glimpse @ core.glimpse.weight.T).clamp_min(0)
        expected.append(state)
    torch.testing.assert_close(states(core), torch.stack(expected))


def test_kept_keys_give_what_causal_attention_over_all_glimpses_gives():
    torch.manual_seed(1)
    core = TransformerCore(12, 2, 3, 5)
    nn.init.normal_(core.order)
    tokens = GLIMPSES.transpose(0, 1) + core.order
    for layer in core.layers:
        normed = layer.norm1(tokens)
        bias = causal_bias(5, tokens.device)
        tokens = tokens + layer.attn.look(normed, *layer.attn.prepare(normed), bias=bias)
        tokens = tokens + layer.mlp(layer.norm2(tokens))
    torch.testing.assert_close(states(core).transpose(0, 1), core.norm(tokens))
