import pytest
import torch
from tiny import Convolutional, Transformer, batch, looks_and_gradients, upsampled
from torch import nn

from vision_attn.explain.relevance import attention_gradient, gradient_rollout, relevance

KINDS = [(1, "cls"), (2, "cls"), (0, "mean"), (2, "mean"), (0, "attention"), (1, "attention")]


def start(network, weighted, how):
    """Split what a head that attends reads from the layers before it."""
    if network.pool == "attention":
        return how(weighted[-1])[0], weighted[:-1]
    return network.readout, weighted


def positive_mean(heads):
    return heads.relu().mean(0)


def mean_positive(heads):
    return heads.mean(0).relu()


def check_against(method, textbook):
    images, targets = batch()
    for prefix, pool in KINDS:
        network = Transformer(prefix, pool)
        maps = method(network, images, targets)
        for one, image, target in zip(maps, images, targets, strict=True):
            pairs = zip(*looks_and_gradients(network, image, target), strict=True)
            row = textbook(network, [weight * gradient for weight, gradient in pairs])
            torch.testing.assert_close(one, upsampled(row, prefix))
            assert one.any() == row.any()


def test_relevance_equals_the_textbook():
    def textbook(network, weighted):
        row, layers = start(network, weighted, positive_mean)
        matrix = torch.eye(len(row)).double()
        for heads in layers:
            matrix = matrix + positive_mean(heads) @ matrix
        return row @ matrix

    check_against(relevance, textbook)


def test_gradient_rollout_pairs_each_layer_with_its_own_gradient():
    def textbook(network, weighted):
        row, layers = start(network, weighted, mean_positive)
        matrix = torch.eye(len(row)).double()
        for heads in layers:
            layer = (mean_positive(heads) + torch.eye(len(row)).double()) / 2
            matrix = layer / layer.sum(1, keepdim=True) @ matrix
        return row / row.sum().clamp_min(1e-300) @ matrix

    check_against(gradient_rollout, textbook)


def test_attention_gradient_is_the_last_look_alone():
    def textbook(network, weighted):
        row, _ = start(network, weighted, positive_mean)
        return row if network.pool == "attention" else row @ positive_mean(weighted[-1])

    check_against(attention_gradient, textbook)


def test_relevance_depends_on_the_class():
    network, (images, targets) = Transformer(), batch()
    other = relevance(network, images, (targets + 1) % 7)
    assert not torch.allclose(relevance(network, images, targets), other, rtol=0.1)


@pytest.mark.parametrize("method", [relevance, gradient_rollout, attention_gradient])
def test_a_score_that_nothing_changes_points_nowhere(method):
    network, (images, targets) = Transformer(), batch()
    nn.init.zeros_(network.head.weight)
    assert not method(network, images, targets).any()


def test_any_query_can_be_followed():
    network, (images, targets) = Transformer(pool="mean"), batch()
    pairs = zip(*looks_and_gradients(network, images[0], targets[0]), strict=True)
    matrix = torch.eye(16).double()
    for weight, gradient in pairs:
        matrix = matrix + positive_mean(weight * gradient) @ matrix
    found = relevance(network, images, targets, query=(1, 2))[0]
    torch.testing.assert_close(found, upsampled(matrix[1 + 7], 1))


def test_records_outside_the_graph_are_refused():
    network, (images, targets) = Transformer(), batch()
    forward = network.layers[1].forward

    def detached(tokens, tape=None):
        result = forward(tokens, tape)
        tape.attention[-1] = tape.attention[-1]._replace(
            output=tape.attention[-1].output.detach().requires_grad_()
        )
        return result

    network.layers[1].forward = detached
    with pytest.raises(ValueError, match=r"attention layers \[1\] of 3"):
        relevance(network, images, targets)


@pytest.mark.parametrize("method", [relevance, gradient_rollout, attention_gradient])
def test_a_network_without_attention_is_refused_by_name(method):
    with pytest.raises(ValueError, match=f"{method.__name__} needs attention.*use grad_cam"):
        method(Convolutional(), *batch())
