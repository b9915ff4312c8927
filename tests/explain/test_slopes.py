"""Weights times gradients from the backward pass are those computed afterwards, and it goes on."""

import pytest
import torch
import torch.nn.functional as F
from foreign import SEQUENCES, SQUARE, batch, sequence

from vision_attn.explain import METHODS, adapt
from vision_attn.explain.slopes import FusingSlopes
from vision_attn.tape import Attended

BATCH, HEADS, TOKENS, WIDTH = 3, 2, 7, 4


def drawn(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(BATCH, TOKENS, 3, HEADS, WIDTH, generator=generator, dtype=dtype)
    return [x.requires_grad_() for x in tokens.permute(2, 0, 3, 1, 4).unbind(0)]


def mean(heads):
    return heads.mean(1)


def textbook(query, key, value, gradient, scale=0.5, bias=0.0):
    weights = ((query @ key.mT) * scale + bias).softmax(-1)
    return (weights * (gradient @ value.mT)).mean(1)


@pytest.mark.parametrize("asking", [slice(0, TOKENS), slice(2, 4), slice(0, 0)])
@pytest.mark.parametrize("shape", [None, (TOKENS, TOKENS), (1, HEADS, 1, TOKENS)])
def test_gradients_and_slopes_are_those_of_the_textbook(monkeypatch, asking, shape):
    monkeypatch.setattr("vision_attn.explain.looks.CACHE", 2 * 8 * HEADS * TOKENS**2)  # two images
    bias = None if shape is None else torch.randn(shape, dtype=torch.float64)
    query, key, value = drawn()
    given = torch.randn(BATCH, HEADS, TOKENS, WIDTH, dtype=torch.float64)
    gradient = torch.zeros_like(given)
    gradient[:, :, asking] = given[:, :, asking]
    with FusingSlopes(mean) as fusing:
        output = F.scaled_dot_product_attention(query, key, value, bias)
    found = torch.autograd.grad(output, [query, key, value], gradient)
    plain = F.scaled_dot_product_attention(query, key, value, bias)
    torch.testing.assert_close(output, plain)
    expected = torch.autograd.grad(plain, [query, key, value], gradient)
    torch.testing.assert_close(found, expected)
    record = Attended(query, key, value, output, 0.5, bias)
    assert fusing.kept(record) is not None
    slopes = fusing.slopes(record, gradient)
    added = 0.0 if bias is None else bias
    torch.testing.assert_close(slopes, textbook(query, key, value, gradient, bias=added))


def test_what_no_gradient_went_through_is_computed_when_asked_for():
    query, key, value = drawn()
    with FusingSlopes(mean) as fusing:
        output = F.scaled_dot_product_attention(query, key, value)
    record, gradient = Attended(query, key, value, output, 0.5), drawn(1)[0]
    assert fusing.kept(record) is None
    found = fusing.slopes(record, gradient)
    torch.testing.assert_close(found, textbook(query, key, value, gradient))


def test_what_learns_or_is_no_plain_attention_is_left_to_the_kernel():
    query, key, value = drawn()
    learned = torch.zeros(TOKENS, TOKENS, dtype=torch.float64, requires_grad=True)
    hidden = torch.zeros(TOKENS, TOKENS, dtype=torch.bool).fill_diagonal_(True)
    for settings in ({"attn_mask": learned}, {"attn_mask": hidden}, {"is_causal": True}):
        with FusingSlopes(mean) as fusing:
            output = F.scaled_dot_product_attention(query, key, value, **settings)
        wanted = [query, *[x for x in settings.values() if x is learned]]
        gradients = torch.autograd.grad(output.square().sum(), wanted)
        bias = settings.get("attn_mask")
        assert fusing.kept(Attended(query, key, value, output, 0.5, bias)) is None
        assert all(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("method", ["relevance", "gradient_rollout"])
def test_maps_are_the_same_either_way(monkeypatch, kind, method):
    network, (images, targets) = adapt(sequence(kind, SQUARE)), batch(SQUARE)
    kept, ask = [], FusingSlopes.kept

    def watched(self, record):
        kept.append(ask(self, record) is not None)
        return ask(self, record)

    monkeypatch.setattr(FusingSlopes, "kept", watched)
    found = METHODS[method](network, images, targets)
    assert any(kept)
    monkeypatch.setattr(FusingSlopes, "_pays", lambda *_: False)
    torch.testing.assert_close(METHODS[method](network, images, targets), found)
