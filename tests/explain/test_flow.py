import pytest
import torch
from scipy.optimize import linprog
from tiny import Transformer, batch, looks_and_gradients, upsampled

from vision_attn.explain.flow import attention_flow, flow


def by_linear_programming(row, layers, sink):
    """Maximise what reaches the sink subject to capacities, as the definition reads."""
    depth, tokens, _ = layers.shape
    capacities = torch.cat([row.flatten(), layers.flip(0).flatten()])
    # Balance at every node but source and sink: what comes in goes out, or stops short of the end.
    balance = torch.zeros(depth * tokens, len(capacities))
    for node in range(depth * tokens):
        level, token = divmod(node, tokens)
        into = (
            [token]
            if level == 0
            else [tokens * (1 + (level - 1) * tokens + i) + token for i in range(tokens)]
        )
        out = [tokens * (1 + level * tokens + token) + j for j in range(tokens)]
        balance[node, into], balance[node, out] = 1, -1
    reach = torch.zeros(len(capacities))
    last = [tokens * (1 + (depth - 1) * tokens + i) for i in range(tokens)]
    others = [(0, capacity) for capacity in capacities.tolist()]
    for first in last:
        for token in range(tokens):
            if token != sink:
                others[first + token] = (0, 0)
        reach[first + sink] = -1
    zeros = [0] * len(balance)
    return -linprog(reach.numpy(), A_eq=balance.numpy(), b_eq=zeros, bounds=others).fun


def test_the_flow_equals_linear_programming():
    generator = torch.Generator().manual_seed(11)
    layers = torch.randn(3, 5, 5, generator=generator).double().mul(2).softmax(-1)
    row = torch.tensor([0.6, 0.0, 0.4, 0.0, 0.0]).double()
    found = flow(row, layers, list(range(5)))
    expected = [by_linear_programming(row, layers, sink) for sink in range(5)]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_bottleneck_by_hand():
    # The head reads token 0; it sees 0.3 of token 1, of which token 2 makes up everything.
    last = torch.tensor([[0.7, 0.3, 0.0], [0, 1, 0], [0, 0, 1]])
    first = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0.5, 0.5]])
    found = flow(torch.tensor([1.0, 0, 0]), torch.stack([first, last]), [0, 1, 2])
    assert found.tolist() == pytest.approx([0.7, 0, 0.3], abs=1e-6)


def test_maps_mix_the_skip_connection_in():
    network, (images, targets) = Transformer(prefix=2), batch(2)
    maps = attention_flow(network, images, targets, residual=0.4)
    weights, _ = looks_and_gradients(network, images[1], 0)
    layers = torch.stack([0.6 * x.mean(0) + 0.4 * torch.eye(17).double() for x in weights])
    expected = flow(network.readout, layers, list(range(2, 17)))
    torch.testing.assert_close(maps[1], upsampled(expected, 2), rtol=0, atol=1e-8)


def test_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match=r"got 16 tokens and most_tokens=15; use rollout"):
        attention_flow(Transformer(), *batch(), most_tokens=15)
