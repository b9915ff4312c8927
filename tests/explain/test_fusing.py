"""Attention that keeps its weights gives what the fused kernel gives."""

import pytest
import torch
import torch.nn.functional as F
from timm import create_model

from vision_attn.explain import adapt, fusing
from vision_attn.explain.fusing import Fusing
from vision_attn.explain.looks import weights_in_pieces
from vision_attn.explain.rollout import patch_rollout, rollout
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec
from vision_attn.tape import Attended

BATCH, HEADS, TOKENS, WIDTH = 3, 2, 7, 4


def drawn(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(BATCH, TOKENS, 3, HEADS, WIDTH, generator=generator)
    return tokens.to(dtype).permute(2, 0, 3, 1, 4).unbind(0)


def mean(heads):
    return heads.mean(1)


def attend(*tokens, **settings):
    """Attend while weights are kept, and give what ran as well."""
    with torch.no_grad(), Fusing(mean) as fused:
        output = F.scaled_dot_product_attention(*tokens, **settings)
    query, key, value = tokens
    scale = settings.get("scale") or query.shape[-1] ** -0.5
    return fused, Attended(query, key, value, output, scale, settings.get("attn_mask"))


SHAPES = [(), (TOKENS, TOKENS), (1, HEADS, 1, TOKENS), (BATCH, 1, TOKENS, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_output_and_weights_are_those_of_the_fused_kernel(monkeypatch, shape, scale):
    monkeypatch.setattr("vision_attn.explain.looks.CACHE", 2 * 4 * HEADS * TOKENS**2)  # two images
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(1)) if shape else None
    fused, ran = attend(*drawn(), attn_mask=bias, scale=scale)
    expected = F.scaled_dot_product_attention(*drawn(), attn_mask=bias, scale=scale)
    torch.testing.assert_close(ran.output, expected)
    assert ran.output.stride() == expected.stride()
    weights = ran._replace(query=ran.query.double(), key=ran.key.double()).weights()
    torch.testing.assert_close(fused.kept(ran), weights.mean(1).float())


def test_only_what_ran_is_given():
    bias = torch.zeros(TOKENS)
    fused, ran = attend(*drawn(), attn_mask=bias)
    assert fused.kept(ran) is not None
    others = {"query": ran.query.clone(), "key": ran.key.flip(2), "bias": bias.clone()}
    for part, other in (others | {"output": ran.output.clone()}).items():
        assert fused.kept(ran._replace(**{part: other})) is None


HIDDEN = torch.zeros(TOKENS, TOKENS).index_fill(0, torch.tensor(2), -torch.inf)


@pytest.mark.parametrize(
    "settings",
    [
        {"is_causal": True},
        {"attn_mask": HIDDEN.isfinite()},
        {"attn_mask": HIDDEN},
        {"dropout_p": 1e-9},
    ],
)
def test_what_is_no_plain_attention_is_left_to_the_kernel(settings):
    fused, ran = attend(*drawn(), **settings)
    expected = F.scaled_dot_product_attention(*drawn(), **settings)
    torch.testing.assert_close(ran.output, expected)
    assert fused.kept(ran) is None


def test_what_is_shared_or_of_another_width_is_left_to_the_kernel():
    query, key, value = drawn()
    for tokens in (
        (query[:1], key, value),
        (query, key[:, :1], value[:, :1]),
        (query, key, value[..., :2]),
    ):
        fused, ran = attend(*tokens)
        torch.testing.assert_close(ran.output, F.scaled_dot_product_attention(*tokens))
        assert fused.kept(ran) is None


def test_gradients_half_precision_and_long_sequences_are_left_to_the_kernel(monkeypatch):
    query, key, value = drawn()
    with Fusing(mean) as fused:
        output = F.scaled_dot_product_attention(query, key, value)
    assert fused.kept(Attended(query, key, value, output, WIDTH**-0.5)) is None
    fused, ran = attend(*drawn(torch.bfloat16))
    assert ran.output.dtype == torch.bfloat16
    assert fused.kept(ran) is None
    with torch.autocast("cpu", torch.bfloat16):
        fused, ran = attend(*drawn())
    assert ran.output.dtype == torch.bfloat16
    assert fused.kept(ran) is None
    monkeypatch.setattr(fusing, "ROOM", 4 * BATCH * TOKENS**2 - 1)
    fused, ran = attend(*drawn())
    assert fused.kept(ran) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_in_pieces_are_those_of_the_record(monkeypatch, shape):
    monkeypatch.setattr("vision_attn.explain.looks.CACHE", 2 * 4 * HEADS * TOKENS**2)
    query, key, value = drawn()
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(1)) if shape else None
    for asked, known in ((query, key), (query, key[:, :1]), (query[:1], key)):
        record = Attended(asked, known, value, value, 0.3, bias)
        found = torch.cat([weights.clone() for _, weights in weights_in_pieces(record)])
        torch.testing.assert_close(found, record.weights())


def networks():
    small = {"img_size": 24, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 3}
    yield adapt(create_model("vit_tiny_patch16_224", num_classes=5, **small))
    yield adapt(create_model("beit_base_patch16_224", num_classes=5, **small))
    spec = Spec(image_size=(24, 24), names=tuple("abcde"))
    yield ViTConfig(dim=12, depth=3, heads=3, patch_size=8).build(spec)


@pytest.mark.parametrize(
    ("settings", "asked"),
    [({}, 2), ({"fusion": "max", "discard": 0.5}, 3), ({"start_layer": 1}, 1)],
)
def test_rollout_is_the_same_whether_weights_are_kept_or_computed_again(
    monkeypatch, settings, asked
):
    images, targets = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)), [1, 2]
    given, ask = [], Fusing.kept

    def watched(self, record):
        given.append(ask(self, record))
        return given[-1]

    monkeypatch.setattr(Fusing, "kept", watched)
    for network in networks():
        monkeypatch.setattr(fusing, "ROOM", 2**20)
        given.clear()
        while_running = rollout(network, images, torch.tensor(targets), **settings)
        assert len(given) == asked
        # The last layer, which the others ask first, may end before it has an output.
        assert all(layer is not None for layer in given[asked == 3 :])
        patches = patch_rollout(network, images)
        monkeypatch.setattr(fusing, "ROOM", 0)
        given.clear()
        again = rollout(network, images, torch.tensor(targets), **settings)
        assert given == [None] * asked
        torch.testing.assert_close(again, while_running)
        torch.testing.assert_close(patch_rollout(network, images), patches)


def test_one_query_may_ask_all_keys():
    query, key, value = drawn()
    fused, ran = attend(query[:, :, :1], key, value)
    expected = F.scaled_dot_product_attention(query[:, :, :1], key, value)
    torch.testing.assert_close(ran.output, expected)
    torch.testing.assert_close(fused.kept(ran), ran.weights().mean(1))
