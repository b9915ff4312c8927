import pytest
import timm.models.vision_transformer as timm_vit
import torch
import torch.nn.functional as F
from foreign import (
    CLASS_TOKEN,
    PLAIN,
    SEQUENCES,
    SQUARE,
    WIDE,
    batch,
    foreign,
    sequence,
    torchvision_vit,
)
from torch import nn

from vision_attn.explain import METHODS, adapt
from vision_attn.explain.capture import recorded
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape


@pytest.mark.parametrize("kind", SEQUENCES)
def test_what_is_recorded_is_the_forward_pass(kind):
    network, (images, _) = sequence(kind), batch()
    adapted, tape = adapt(network), Tape()
    with torch.no_grad():
        torch.testing.assert_close(adapted(images, tape=tape), network(images))
    pooled = adapted.readout is None
    assert len(tape.attention) == 3 + pooled
    for record in tape.attention[:3]:
        assert record.query.shape[2] == SEQUENCES[kind][2] + 14
        weights = record.weights()
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        torch.testing.assert_close(weights @ record.value, record.output, rtol=1e-4, atol=1e-5)
    if pooled:
        weights = tape.attention[-1].weights()
        assert weights.shape == (3, 2, 1, SEQUENCES[kind][2] + 14)
        assert not weights[..., : SEQUENCES[kind][2]].any()


INSIDE = (
    "attention",
    "rollout",
    "rollout_max",
    "gradient_rollout",
    "relevance",
    "attention_gradient",
    "attention_flow",
    "grad_cam",
    "hires_cam",
    "eigen_cam",
)
OURS = {
    "class token": {},
    "distilled": {"distilled": True},
    "registers": {"registers": 4, "prefix_position": False, "layer_scale": 1.0},
    "qk norm": {"qk_norm": True},
    "attention pool": {"pool": "attention"},
}


@pytest.mark.parametrize("method", INSIDE)
@pytest.mark.parametrize("kind", OURS)
def test_maps_are_those_of_our_own_network_with_the_same_weights(kind, method):
    network, (images, targets) = sequence(kind), batch()
    config = ViTConfig(patch_size=4, dim=12, depth=3, heads=2, **OURS[kind])
    ours = config.build(Spec(image_size=WIDE, names=tuple("abcde")))
    ours.load_state_dict(network.state_dict())
    adapted = adapt(network, cam_layer="blocks.2.norm1")
    expected = METHODS[method](ours, images, targets)
    assert expected.any()
    found = METHODS[method](adapted, images, targets)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_torchvisions_transformer_is_read_through_its_multihead_attention():
    network, (images, _) = torchvision_vit(), batch(SQUARE)
    adapted, tape = adapt(network), Tape()
    with torch.no_grad():  # where the fast path would be taken
        torch.testing.assert_close(adapted(images, tape=tape), network(images))
        tokens = network._process_input(images)
        tokens = torch.cat([network.class_token.expand(3, -1, -1), tokens], 1)
        tokens = tokens + network.encoder.pos_embedding
        for layer, record in zip(network.encoder.layers, tape.attention, strict=True):
            inner = layer.ln_1(tokens)
            _, weights = layer.self_attention(inner, inner, inner, average_attn_weights=False)
            torch.testing.assert_close(record.weights(), weights)
            tokens = layer(tokens)
    assert adapted.readout.tolist() == [1.0] + [0.0] * 16
    assert adapted.cam_layer is network.encoder.layers[-1].ln_1


@pytest.mark.parametrize(
    ("name", "settings", "counts"),
    [
        (CLASS_TOKEN, {"block_fn": timm_vit.DiffParallelScalingBlock}, "3 attention layers, but 6"),
        (CLASS_TOKEN, {"block_fn": timm_vit.ParallelThingsBlock}, "3 attention layers, but 6"),
        ("convit_tiny", {"img_size": 16}, "3 attention layers, but 0"),
    ],
)
def test_layers_that_are_not_seen_are_counted(name, settings, counts):
    adapted = adapt(foreign(name, **{**PLAIN, "img_size": SQUARE, **settings}))
    with pytest.raises(ValueError, match=f"{counts} looks were seen.*use grad_cam"):
        METHODS["rollout"](adapted, *batch(SQUARE))


def test_attention_that_timm_writes_out_is_fused_for_the_call_and_put_back():
    network, (images, _) = sequence("class token"), batch()
    expected = Tape()
    adapt(network)(images, tape=expected)
    for block in network.blocks:
        block.attn.fused_attn = False
    with torch.no_grad():
        plain = network(images)
    found = Tape()
    torch.testing.assert_close(adapt(network)(images, tape=found), plain)
    assert [block.attn.fused_attn for block in network.blocks] == [False] * 3
    for one, other in zip(found.attention, expected.attention, strict=True):
        torch.testing.assert_close(one.weights(), other.weights())
    network.head.forward = lambda tokens: tokens[0][99]
    with pytest.raises(IndexError):
        adapt(network)(images, tape=Tape())
    assert [block.attn.fused_attn for block in network.blocks] == [False] * 3


def attend(**settings):
    query = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(41))
    with recorded(nn.Identity()) as records:
        output = F.scaled_dot_product_attention(query, query + 1, query * 2, **settings)
    (record,) = records
    torch.testing.assert_close(record.weights() @ record.value, output)
    assert output is record.output
    return record


def test_masks_and_scales_are_recorded_as_they_act():
    hidden = torch.ones(5, 5).tril() > 0
    assert not attend(attn_mask=hidden).weights().triu(1).any()
    assert attend(attn_mask=torch.arange(25.0).view(5, 5)).bias[4, 4] == 24
    assert attend(scale=0.5).scale == 0.5
    assert attend().scale == 7**-0.5


@pytest.mark.parametrize("settings", [{"is_causal": True}, {"enable_gqa": True}])
def test_attention_that_a_record_cannot_hold_is_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=True.*use grad_cam"):
        attend(**settings)
    with recorded(nn.Identity()), pytest.raises(ValueError, match=r"shape \(5, 7\)"):
        F.scaled_dot_product_attention(*torch.zeros(3, 5, 7).unbind())


def test_multihead_attention_gives_the_same_output_and_weights():
    layer = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    tokens = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(43))
    for settings in ({}, {"average_attn_weights": False}, {"need_weights": False}):
        expected = layer(tokens, tokens, tokens, **settings)
        with recorded(layer) as records:
            found = layer(tokens, tokens, tokens, **settings)
        assert len(records) == 1
        torch.testing.assert_close(found, expected)
    with recorded(layer), pytest.raises(ValueError, match="cross-attention"):
        layer(tokens, tokens * 2, tokens * 2)
    with recorded(layer), pytest.raises(ValueError, match="attn_mask"):
        layer(tokens, tokens, tokens, attn_mask=torch.zeros(5, 5))
    with recorded(layer), pytest.raises(ValueError, match="key_padding_mask"):
        layer(tokens, tokens, tokens, key_padding_mask=torch.zeros(2, 5))
