import pytest
import torch
from tiny import OUTPUTS, SIZE, Convolutional, Transformer, batch, looks_and_gradients, upsampled
from torch import nn

from vision_attn.explain.attention import (
    attention,
    attention_grids,
    patch_attention,
    sink_share,
)

KINDS = [(1, "cls"), (2, "cls"), (0, "mean"), (2, "mean"), (0, "attention"), (1, "attention")]


def test_the_last_look_is_that_of_the_tokens_the_head_reads():
    images, targets = batch()
    for prefix, pool in KINDS:
        network = Transformer(prefix, pool)
        maps = attention(network, images, targets)
        for one, image in zip(maps, images, strict=True):
            weights, _ = looks_and_gradients(network, image, 0)
            row = weights[-1].mean(0)[0] if pool != "mean" else weights[-1].mean(0)[prefix:].mean(0)
            torch.testing.assert_close(one, upsampled(row, prefix))


@pytest.mark.parametrize(("query", "token"), [((2, 3), 2 + 2 * 5 + 3), (1, 1)])
def test_any_query_can_be_followed_in_any_layer(query, token):
    network, (images, targets) = Transformer(prefix=2), batch()
    maps = attention(network, images, targets, layer=1, query=query)
    weights, _ = looks_and_gradients(network, images[3], 0)
    torch.testing.assert_close(maps[3], upsampled(weights[1].mean(0)[token], 2))


def test_every_layer_and_head_is_given():
    network, (images, _) = Transformer(), batch()
    grids = attention_grids(network, images)
    assert grids.shape == (4, 3, 2, 3, 5)
    weights, _ = looks_and_gradients(network, images[2], 0)
    for layer in range(3):
        torch.testing.assert_close(grids[2, layer].flatten(1), weights[layer][:, 0, 1:])


def test_every_patch_is_given():
    network, (images, _) = Transformer(prefix=2), batch()
    grids = patch_attention(network, images, layer=0)
    weights, _ = looks_and_gradients(network, images[1], 0)
    torch.testing.assert_close(grids[1].flatten(2), weights[0][:, 2:, 2:])


def test_the_sink_share_of_equal_looks_is_that_of_the_patches():
    network, (images, _) = Transformer(), batch()
    for layer in network.layers:
        nn.init.zeros_(layer.qkv.weight)
    torch.testing.assert_close(
        sink_share(network, images, patches=3), torch.full((4,), 0.2).double()
    )


def test_a_sink_takes_its_share():
    network, (images, _) = Transformer(), batch()
    layer = network.layers[-1]
    nn.init.zeros_(layer.qkv.weight)
    layer.norm1.forward = lambda x: torch.eye(16, 12).double().expand(len(x), -1, -1)
    with torch.no_grad():  # every query agrees with the key of token 7 alone, by log 14
        layer.qkv.bias[:12] = 1
        layer.qkv.bias[12:24] = 0
        layer.qkv.weight[12:24, 7] = torch.log(torch.tensor(14.0)) * 6**-0.5
    torch.testing.assert_close(
        sink_share(network, images, patches=1), torch.full((4,), 14 / 28).double()
    )


def test_a_network_without_attention_is_refused_by_name():
    with pytest.raises(ValueError, match=r"attention needs attention.*use grad_cam"):
        attention(Convolutional(), *batch())


def test_attention_in_windows_is_refused_by_name():
    network, (images, targets) = Transformer(), batch()
    layer, forward = network.layers[0], network.layers[0].forward

    def windowed(tokens, tape=None):
        tokens = forward(tokens, tape)
        if tape is not None:
            record = tape.attention[-1]
            tape.attention[-1] = record._replace(query=record.query.repeat(2, 1, 1, 1))
        return tokens

    layer.forward = windowed
    with pytest.raises(ValueError, match=r"attend over the same 16 tokens.*\(8, 16, 16\)"):
        attention(network, images, targets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 3}, r"layer must be in \[-3, 3\), got 3"),
        ({"query": 16}, r"token in \[0, 16\), got 16"),
        ({"query": (0, 5)}, r"patch of the 3x5 grid, got \(0, 5\)"),
    ],
)
def test_what_does_not_exist_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        attention(Transformer(), *batch(), **settings)


def test_images_of_another_size_keep_the_readout():
    for pool in ("cls", "mean"):
        network = Transformer(prefix=2, pool=pool)
        images, targets = batch(size=(8, 6))
        network.eval()(images)
        weights = network.layers[-1].matrices[1].mean(0)
        row = weights[0] if pool == "cls" else weights[2:].mean(0)
        torch.testing.assert_close(
            attention(network, images, targets)[1], upsampled(row, 2, (8, 6))
        )


def test_tokens_that_fit_no_grid_raise():
    network, (images, targets) = Transformer(), batch()
    network.prefix = 3
    with pytest.raises(ValueError, match="must fit the grid"):
        attention(network, images, targets)


def test_the_map_does_not_depend_on_the_class():
    network, (images, targets) = Transformer(), batch()
    other = (targets + 1) % OUTPUTS
    maps = attention(network, images, targets)
    assert torch.equal(maps, attention(network, images, other))
    assert maps.shape == (4, *SIZE)
