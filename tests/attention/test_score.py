"""Each score against a loop over batch, query and key in float64."""

import math

import pytest
import torch
from torch import nn

from vision_attn.attention.score import (
    Additive,
    Cosine,
    Dot,
    General,
    Location,
    MultiHead,
    Prepared,
    ScaledDot,
)
from vision_attn.engine.lora import LowRank

BATCH, QUERIES, KEYS, DIM = 2, 3, 5, 7


def inner(a, b):
    return math.fsum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def cosine(score, s, h, k):
    return math.exp(score.log_sharpness) * inner(s, h) / math.sqrt(inner(s, s) * inner(h, h))


def additive(score, s, h, k):
    hidden = [
        math.tanh(inner(w, s) + inner(u, h) + float(b))
        for w, u, b in zip(score.query.weight, score.key.weight, score.key.bias, strict=True)
    ]
    return math.fsum(v * x for v, x in zip(score.compared.weight[0].tolist(), hidden, strict=True))


def general(score, s, h, k):
    return math.fsum(
        float(s[i] * score.key.weight[i, j] * h[j]) for i in range(len(s)) for j in range(len(h))
    )


CASES = {  # score, width of the keys, the formula for one query and one key
    "cosine": (lambda: Cosine(DIM, DIM), DIM, cosine),
    "additive": (lambda: Additive(DIM, 11, dim=13), 11, additive),
    "location": (
        lambda: Location(DIM, KEYS),
        11,
        lambda score, s, h, k: inner(score.place.weight[k], s),
    ),
    "general": (lambda: General(DIM, 11), 11, general),
    "dot": (lambda: Dot(DIM, DIM), DIM, lambda score, s, h, k: inner(s, h)),
    "scaled_dot": (
        lambda: ScaledDot(DIM, DIM),
        DIM,
        lambda score, s, h, k: inner(s, h) / math.sqrt(DIM),
    ),
}


def made(name):
    torch.manual_seed(3)
    make, key_dim, formula = CASES[name]
    score = make().double().requires_grad_(False)
    query = torch.randn(BATCH, QUERIES, DIM, dtype=torch.float64)
    return score, query, torch.randn(BATCH, KEYS, key_dim, dtype=torch.float64), formula


def looped(score, query, keys, formula):
    scores = torch.zeros(len(query), query.shape[1], keys.shape[1], dtype=torch.float64)
    for b, q, k in torch.cartesian_prod(*map(torch.arange, scores.shape)).tolist():
        scores[b, q, k] = formula(score, query[b, q], keys[b, k], k)
    return scores


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_score_equals_a_triple_loop(name, learning):
    score, query, keys, formula = made(name)
    with torch.set_grad_enabled(learning):
        found = score(query, keys)
    torch.testing.assert_close(found, looped(score, query, keys, formula))


@pytest.mark.parametrize("scale", [1, 5, 30, 1e4, 1e30])
def test_additive_scores_are_the_same_however_far_query_and_key_are_apart(scale):
    torch.manual_seed(3)
    score = Additive(DIM, DIM)
    query = scale * torch.randn(BATCH, QUERIES, DIM)
    keys = -query[:, :1].expand(-1, KEYS, -1) + torch.randn(BATCH, KEYS, DIM)
    learning = score(query, keys).detach()
    with torch.no_grad():
        torch.testing.assert_close(score(query, keys), learning)
        assert score(query[:, :0], keys).shape == (BATCH, 0, KEYS)
        assert score(query[:0], keys[:0]).shape == (0, QUERIES, KEYS)
        shared = score.compare(query, score.prepare(keys[:1]))
        torch.testing.assert_close(shared[0], learning[0])


@pytest.mark.parametrize("scale", [1, 30, 1e4, 1e30])
def test_additive_scores_are_the_same_however_large_the_query(scale):
    torch.manual_seed(3)
    score, keys = Additive(DIM, DIM), torch.randn(BATCH, KEYS, DIM)
    query = scale * torch.randn(BATCH, QUERIES, DIM)
    with torch.no_grad():
        assert score.prepare(keys).powers
        found = score(query, keys)
    torch.testing.assert_close(found, score(query, keys).detach())


def test_keys_prepared_without_gradients_serve_a_query_with_one():
    score, query, keys, _ = made("additive")
    query.requires_grad_()
    with torch.no_grad():
        prepared = score.prepare(keys)
    assert prepared.powers
    gradients = [
        torch.autograd.grad(score.compare(query, either).square().sum(), query)[0]
        for either in (prepared, score.prepare(keys))
    ]
    torch.testing.assert_close(*gradients)


def test_a_program_for_prepared_keys_takes_any_number_of_images():
    score, query, keys, _ = made("additive")

    class Comparing(nn.Module):
        def forward(self, query, keys):
            return score.compare(query, Prepared(keys, powers=True))

    with torch.no_grad():
        prepared = score.prepare(keys)
        assert prepared.powers
        dims = ({0: torch.export.Dim("batch")},) * 2
        program = torch.export.export(Comparing(), (query, prepared.keys), dynamic_shapes=dims)
        more = query.repeat(3, 1, 1).flip(0), prepared.keys.repeat(3, 1, 1)
        found = program.module()(*more)
        torch.testing.assert_close(found, score.compare(more[0], Prepared(more[1], powers=True)))


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize(("name", "layer"), [("general", "key"), ("additive", "compared")])
def test_a_change_of_low_rank_counts_as_part_of_the_weights(name, layer, learning):
    score, query, keys, _ = made(name)
    changed = LowRank(getattr(score, layer), rank=2, scale=0.5)
    changed.up.data.normal_()
    score.get_submodule(layer).weight = nn.Parameter(changed.merged())
    with torch.set_grad_enabled(learning):
        expected = score(query, keys)
        setattr(score, layer, changed)
        torch.testing.assert_close(score(query, keys), expected)


@pytest.mark.parametrize("name", CASES)
def test_keys_prepared_once_serve_every_query(name):
    score, query, keys, _ = made(name)
    prepared = score.prepare(keys)
    apart = [score.compare(query[:, q : q + 1], prepared) for q in range(QUERIES)]
    torch.testing.assert_close(torch.cat(apart, 1), score(query, keys))


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_of_a_score_learns(name):
    score, query, keys, _ = made(name)
    score.requires_grad_()
    target = torch.arange(KEYS, dtype=torch.float64)
    parameters = list(score.parameters())
    if parameters:
        loss = (score(query, keys).softmax(-1) * target).sum()
        for gradient in torch.autograd.grad(loss, parameters):
            assert gradient.abs().max() > 1e-6


@pytest.mark.parametrize("name", ["cosine", "additive", "general", "dot", "scaled_dot"])
def test_heads_score_their_own_projections(name):
    torch.manual_seed(5)
    kinds = {"cosine": Cosine, "additive": Additive, "general": General, "dot": Dot}
    score = MultiHead(kinds.get(name, ScaledDot), 6, 11, heads=3).double().requires_grad_(False)
    query = torch.randn(2, 3, 6, dtype=torch.float64)
    keys = torch.randn(2, 5, 11, dtype=torch.float64)
    scores = score(query, keys)
    assert scores.shape == (2, 3, 3, 5)
    for head in range(3):
        rows = slice(2 * head, 2 * head + 2)
        own_query = query @ score.query.weight[rows].T + score.query.bias[rows]
        own_keys = keys @ score.key.weight[rows].T + score.key.bias[rows]
        expected = looped(score.score, own_query, own_keys, CASES[name][2])
        if name == "scaled_dot":
            expected *= math.sqrt(DIM) / math.sqrt(2)
        torch.testing.assert_close(scores[:, head], expected)


def test_heads_that_share_a_location_score_differ_by_their_queries():
    torch.manual_seed(5)
    score = MultiHead(lambda query_dim, _: Location(query_dim, 5), 6, 11, heads=2)
    scores = score(torch.randn(2, 3, 6), torch.randn(2, 5, 11))
    assert scores.shape == (2, 2, 3, 5)
    assert (scores[:, 0] - scores[:, 1]).abs().max() > 1e-3


def test_location_refuses_another_number_of_places():
    score = Location(7, 5)
    with pytest.raises(ValueError, match="got 6 keys for 5 places"):
        score(torch.zeros(1, 1, 7), torch.zeros(1, 6, 11))


@pytest.mark.parametrize("kind", [Cosine, Dot, ScaledDot])
def test_scores_without_a_matrix_refuse_two_widths(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} compares vectors of one width"):
        kind(7, 11)


def test_heads_must_divide_the_query():
    with pytest.raises(ValueError, match="query_dim=7 and heads=2"):
        MultiHead(Dot, 7, 7, heads=2)


def test_a_cosine_score_can_be_sharp():
    torch.manual_seed(7)
    keys = torch.randn(1, 196, 64)
    weights = Cosine(64, 64)(keys[:, 3:4], keys).softmax(-1)
    assert weights[0, 0, 3] > 0.5  # with a sharpness of 1 it would be below 0.02
