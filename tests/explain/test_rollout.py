import numpy as np
import pytest
import torch
from tiny import Convolutional, Transformer, batch, looks_and_gradients, upsampled

from vision_attn.explain.looks import weights_of
from vision_attn.explain.rollout import drop, fuse, patch_rollout, roll, rollout
from vision_attn.tape import Tape


def textbook(weights, fusion, discard, residual, prefix):
    """Multiply whole matrices, as Abnar and Zuidema write it, one image alone."""
    result = np.eye(weights[0].shape[-1])
    for layer in weights:
        matrix = getattr(np, fusion)(layer.numpy(), axis=0)
        smallest = np.argsort(matrix, axis=None)[: int(discard * matrix.size)]
        for row, column in zip(*np.unravel_index(smallest, matrix.shape), strict=True):
            if column >= prefix:
                matrix[row, column] = 0
        matrix = (1 - residual) * matrix + residual * np.eye(len(matrix))
        result = matrix / matrix.sum(1, keepdims=True) @ result
    return torch.from_numpy(result)


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize(("discard", "residual"), [(0.0, 0.5), (0.6, 0.5), (0.9, 0.2)])
def test_rollout_equals_the_textbook(fusion, discard, residual):
    images, targets = batch()
    for prefix, pool in [(1, "cls"), (2, "cls"), (0, "mean"), (2, "mean")]:
        network = Transformer(prefix, pool)
        maps = rollout(network, images, targets, fusion=fusion, discard=discard, residual=residual)
        for one, image in zip(maps, images, strict=True):
            weights, _ = looks_and_gradients(network, image, 0)
            matrix = textbook(weights, fusion, discard, residual, prefix)
            torch.testing.assert_close(one, upsampled(network.readout @ matrix, prefix))


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_a_head_that_attends_starts_the_row(fusion):
    network, (images, targets) = Transformer(1, "attention"), batch()
    maps = rollout(network, images, targets, fusion=fusion, discard=0.3)
    weights, _ = looks_and_gradients(network, images[1], 0)
    row = torch.from_numpy(getattr(np, fusion)(weights[-1].numpy(), axis=0))[0]
    matrix = textbook(weights[:-1], fusion, 0.3, 0.5, 1)
    torch.testing.assert_close(maps[1], upsampled(row / row.sum() @ matrix, 1))


def test_layers_before_the_start_are_left_out():
    network, (images, targets) = Transformer(), batch()
    maps = rollout(network, images, targets, start_layer=2)
    weights, _ = looks_and_gradients(network, images[0], 0)
    torch.testing.assert_close(maps[0], upsampled(textbook(weights[2:], "mean", 0, 0.5, 1)[0], 1))


def test_any_query_can_be_followed():
    network, (images, targets) = Transformer(prefix=2), batch()
    weights, _ = looks_and_gradients(network, images[0], 0)
    matrix = textbook(weights, "mean", 0, 0.5, 2)
    found = rollout(network, images, targets, query=(1, 4))[0]
    torch.testing.assert_close(found, upsampled(matrix[2 + 9], 2))
    every = patch_rollout(network, images)
    torch.testing.assert_close(every[0].flatten(1), matrix[2:, 2:])


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.95])
def test_rows_sum_to_1(fusion, discard):
    network, (images, _) = Transformer(), batch()
    tape = Tape()
    network.eval()(images, tape)
    patches = torch.arange(16) > 0
    layers = [drop(fuse(weights_of(x), fusion), discard, patches) for x in reversed(tape.attention)]
    rows = roll(torch.eye(16).double().expand(4, -1, -1), layers, 0.5)
    torch.testing.assert_close(rows.sum(-1), torch.ones(4, 16).double())


def test_discard_acts_on_each_image_and_keeps_prefix_tokens_and_ties():
    generator = torch.Generator().manual_seed(7)
    layer = torch.rand(3, 5, 5, generator=generator)
    layer[:, :, 0] = 1e-6
    layer[2] = 0.2
    kept = drop(layer, 0.8, torch.arange(5) > 0)
    assert torch.equal(kept[:, :, 0], layer[:, :, 0])
    # 20 of 25 are dropped, but 5 of these are looks at the class token.
    assert (kept[:2] == 0).sum((1, 2)).tolist() == [15, 15]
    for one, whole in zip(kept[:2], layer[:2], strict=True):
        assert whole[:, 1:][one[:, 1:] > 0].min() > whole[:, 1:][one[:, 1:] == 0].max()
    assert torch.equal(kept[2], layer[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discard": 1.0}, r"discard must be in \[0, 1\), got 1.0"),
        ({"residual": -0.1}, r"residual must be in \[0, 1\)"),
        ({"start_layer": 3}, r"start_layer must be in \[0, 3\), got 3"),
        ({"fusion": "median"}, "fusion must be mean, max or min, got median"),
    ],
)
def test_impossible_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        rollout(Transformer(), *batch(), **settings)


def test_a_network_without_attention_is_refused_by_name():
    with pytest.raises(ValueError, match=r"rollout needs attention.*use grad_cam"):
        rollout(Convolutional(), *batch())
