"""Attention that keeps its weights gives what the fused kernel gives."""

import pytest
import torch
import torch.nn.functional as F
from tiny import Transformer, batch

from vision_attn.explain import fusing
from vision_attn.explain.fusing import Fusing
from vision_attn.explain.rollout import patch_rollout, rollout
from vision_attn.tape import Attended

BATCH, HEADS, TOKENS, WIDTH = 3, 2, 7, 4


def drawn(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(BATCH, TOKENS, 3, HEADS, WIDTH, generator=generator)
    return tokens.to(dtype).permute(2, 0, 3, 1, 4).unbind(0)


def mean(heads):
    return heads.mean(1)


def kept(fused, output):
    return fused.kept(Attended(*drawn(), output, 1.0))


@pytest.mark.parametrize(
    "shape", [(), (TOKENS, TOKENS), (1, HEADS, 1, TOKENS), (BATCH, 1, TOKENS, 1)]
)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_output_and_weights_are_those_of_the_fused_kernel(monkeypatch, shape, scale):
    monkeypatch.setattr("vision_attn.explain.looks.CACHE", 2 * 4 * HEADS * TOKENS**2)  # two images
    query, key, value = drawn()
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(1)) if shape else None
    expected = F.scaled_dot_product_attention(query, key, value, bias, scale=scale)
    with torch.no_grad(), Fusing(mean) as fused:
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)
    torch.testing.assert_close(output, expected)
    scores = query.double() @ key.double().mT * (scale or WIDTH**-0.5)
    weights = (scores if bias is None else scores + bias).softmax(-1).mean(1)
    torch.testing.assert_close(kept(fused, output), weights.float())
    assert kept(fused, expected) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"is_causal": True},
        {"attn_mask": torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()},
        {"dropout_p": 1e-9},
    ],
)
def test_what_is_no_plain_attention_is_left_to_the_kernel(settings):
    with torch.no_grad(), Fusing(mean) as fused:
        output = F.scaled_dot_product_attention(*drawn(), **settings)
    torch.testing.assert_close(output, F.scaled_dot_product_attention(*drawn(), **settings))
    assert kept(fused, output) is None


def test_gradients_half_precision_and_long_sequences_are_left_to_the_kernel(monkeypatch):
    with Fusing(mean) as fused:
        assert kept(fused, F.scaled_dot_product_attention(*drawn())) is None
        with torch.no_grad():
            half = F.scaled_dot_product_attention(*drawn(torch.bfloat16))
            assert half.dtype == torch.bfloat16
            assert kept(fused, half) is None
            monkeypatch.setattr(fusing, "ROOM", 4 * BATCH * TOKENS**2 - 1)
            assert kept(fused, F.scaled_dot_product_attention(*drawn())) is None


@pytest.mark.parametrize("settings", [{}, {"fusion": "max", "discard": 0.5}, {"start_layer": 1}])
def test_rollout_is_the_same_whether_weights_are_kept_or_computed_again(monkeypatch, settings):
    network, (images, targets) = Transformer(), batch()
    while_running = rollout(network, images, targets, **settings)
    patches = patch_rollout(network, images)
    monkeypatch.setattr(fusing, "ROOM", 0)
    torch.testing.assert_close(rollout(network, images, targets, **settings), while_running)
    torch.testing.assert_close(patch_rollout(network, images), patches)
