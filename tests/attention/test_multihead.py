"""Attention against a triple loop, recorded against unrecorded, fused against written out."""

import math

import pytest
import torch

from vision_attn.attention import multihead
from vision_attn.attention.multihead import CrossAttention, MultiHeadAttention, attend, written_out


def tensors(*shape, dtype=torch.float64, count=3):
    generator = torch.Generator().manual_seed(13)
    return [torch.randn(*shape, generator=generator, dtype=dtype) for _ in range(count)]


def triple_loop(query, key, value, scale, bias):
    output = torch.zeros(*query.shape[:-1], value.shape[-1], dtype=torch.float64)
    for b, h, q in torch.cartesian_prod(*(torch.arange(n) for n in query.shape[:3])).tolist():
        scores = [
            scale * float(query[b, h, q] @ key[b, h, k]) + float(bias[q, k])
            for k in range(key.shape[2])
        ]
        total = sum(map(math.exp, scores))
        for k, score in enumerate(scores):
            output[b, h, q] += math.exp(score) / total * value[b, h, k]
    return output


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("fused", [True, False])
def test_attend_equals_a_triple_loop(scale, fused, monkeypatch):
    monkeypatch.setattr(multihead, "takes_fused", lambda *_: fused)
    query, key, value = tensors(2, 3, 5, 7)
    (bias,) = tensors(5, 5, count=1)
    bias[1, 3] = float("-inf")
    record = []
    output = attend(query, key, value, record, scale=scale, bias=bias)
    used = 7**-0.5 if scale is None else scale
    torch.testing.assert_close(output, triple_loop(query, key, value, used, bias))
    torch.testing.assert_close(record[0].weights() @ value, output)
    assert (record[0].weights()[..., 1, 3] == 0).all()


def test_weight_gradients_are_those_of_autograd():
    query, key, value = (x.requires_grad_() for x in tensors(2, 3, 5, 7))
    record = []
    output = attend(query, key, value, record)
    (output_gradient,) = torch.autograd.grad(output.sin().sum(), output, retain_graph=True)
    weights = record[0].weights().detach().requires_grad_()
    (expected,) = torch.autograd.grad((weights @ value).sin().sum(), weights)
    torch.testing.assert_close(record[0].weight_gradients(output_gradient), expected)


def test_bf16_on_the_cpu_agrees_with_the_fused_kernel():
    query, key, value = tensors(2, 3, 5, 8, dtype=torch.bfloat16)
    written = written_out(query, key, value, 8**-0.5, None, 0.0)
    fused = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(written, fused, atol=3e-2, rtol=3e-2)
    torch.testing.assert_close(attend(query, key, value), fused, atol=3e-2, rtol=3e-2)


def test_the_path_follows_device_and_type(monkeypatch):
    monkeypatch.setattr(multihead, "has_native_bf16", lambda: True)
    assert multihead.takes_fused("cpu", torch.float32, True)
    assert not multihead.takes_fused("cpu", torch.bfloat16, True)
    assert multihead.takes_fused("cpu", torch.bfloat16, False)
    assert multihead.takes_fused("cuda", torch.bfloat16, True)
    monkeypatch.setattr(multihead, "has_native_bf16", lambda: False)
    monkeypatch.setattr(multihead, "_probe", lambda: False)
    assert multihead.takes_fused("cpu", torch.bfloat16, True)


def test_only_what_learns_is_written_out_in_bf16(monkeypatch):
    monkeypatch.setattr(multihead, "has_native_bf16", lambda: True)
    ran, written_out = [], multihead.written_out
    monkeypatch.setattr(
        multihead, "written_out", lambda *given: ran.append(1) or written_out(*given)
    )
    for learning in range(3):
        some = [x.requires_grad_(i == learning) for i, x in enumerate(tensors(1, 2, 3, 8))]
        some = [x.bfloat16() for x in some]
        with torch.no_grad():
            attend(*some)
        assert len(ran) == learning
        attend(*some)
        assert len(ran) == learning + 1


def test_the_probe_answers_once_and_leaves_the_grad_mode():
    with torch.no_grad():
        assert multihead._probe() is multihead._probe()
        assert not torch.is_grad_enabled()


def test_the_choice_of_a_path_is_no_break_in_a_compiled_graph():
    query, key, value = tensors(1, 2, 3, 8, dtype=torch.bfloat16)
    compiled = torch.compile(attend, fullgraph=True, backend="eager")
    assert torch.equal(compiled(query, key, value), attend(query, key, value))


def test_self_attention_equals_torchs():
    torch.manual_seed(0)
    ours = MultiHeadAttention(21, 3).double()
    theirs = torch.nn.MultiheadAttention(21, 3, batch_first=True).double()
    theirs.in_proj_weight.data.copy_(ours.qkv.weight)
    theirs.in_proj_bias.data.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    (tokens,) = tensors(2, 5, 21, count=1)
    record = []
    expected, weights = theirs(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(ours(tokens, record), expected)
    torch.testing.assert_close(record[0].weights(), weights)


def test_a_causal_token_ignores_what_comes_after():
    attention = MultiHeadAttention(14, 2, causal=True).double()
    tokens, other = tensors(2, 7, 14, count=2)
    changed = torch.cat([tokens[:, :4], other[:, 4:]], dim=1)
    torch.testing.assert_close(attention(tokens)[:, :4], attention(changed)[:, :4])
    assert not torch.allclose(attention(tokens)[:, 4:], attention(changed)[:, 4:])


def test_cross_attention_ignores_the_order_of_the_memory():
    attention = CrossAttention(14, 2, memory_dim=5).double()
    (tokens,) = tensors(2, 3, 14, count=1)
    (memory,) = tensors(2, 11, 5, count=1)
    record = []
    output = attention(tokens, memory, record)
    torch.testing.assert_close(output, attention(tokens, memory.flip(1)))
    assert record[0].weights().shape == (2, 2, 3, 11)


def test_dropout_acts_on_the_weights_while_training():
    attention = MultiHeadAttention(14, 2, attention_dropout=0.5)
    (tokens,) = tensors(2, 7, 14, dtype=torch.float32, count=1)
    assert not torch.equal(attention(tokens), attention(tokens))
    attention.eval()
    assert torch.equal(attention(tokens), attention(tokens))


@pytest.mark.parametrize("layer", [MultiHeadAttention, CrossAttention])
def test_heads_must_divide_the_width(layer):
    with pytest.raises(ValueError, match="got dim=14 and heads=3"):
        layer(14, 3)
