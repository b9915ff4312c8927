import pytest
import torch
from tiny import OUTPUTS, Convolutional, Transformer, batch

from vision_attn.explain.cam import grad_cam
from vision_attn.explain.relevance import relevance
from vision_attn.explain.targets import Scored, check, predicted, score
from vision_attn.spec import Spec


def test_predicted_is_the_highest_logit_in_eval_mode():
    network, (images, _) = Convolutional().train(), batch()
    found = predicted(network, images)
    assert network.training
    assert torch.equal(found, network.eval()(images).argmax(1))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 1, 2]), "one class an image.*4 images"),
        (torch.tensor(0), "one class an image"),
        (torch.tensor([0.0, 1.0, 2.0, 3.0]), "integers"),
        (torch.tensor([True, False, True, True]), "integers"),
        (torch.tensor([0, -1, 2, 3]), r"in \[0, outputs\), got \[-1\]"),
    ],
)
def test_wrong_targets_raise_before_the_network_runs(targets, message):
    network, (images, _) = Convolutional(), batch()
    network.forward = None
    with pytest.raises(ValueError, match=message):
        grad_cam(network, images, targets)


def test_a_class_out_of_range_raises_before_the_network_runs_if_it_carries_a_spec():
    network, (images, targets) = Convolutional(), batch()
    network.spec = Spec(image_size=(6, 10), names=tuple("abcdefg"))
    network.forward = None
    with pytest.raises(ValueError, match=r"in \[0, 7\), got \[7\]"):
        check(network, images, targets.clamp_min(7))


def test_a_class_out_of_range_raises_without_a_spec_too():
    network, (images, targets) = Convolutional(), batch()
    with pytest.raises(ValueError, match=rf"in \[0, {OUTPUTS}\), got \[11\]"):
        grad_cam(network, images, targets.clamp_min(11))
    assert not network.cam_layer._forward_hooks


def test_logits_that_are_no_classes_name_the_remedy():
    with pytest.raises(ValueError, match="wrap it in Scored"):
        score(torch.zeros(2, 3, 5, 5), torch.tensor([0, 1]))


@pytest.mark.parametrize("network", [Convolutional(), Transformer()])
def test_a_score_that_is_one_class_explains_that_class(network):
    images, _ = batch()
    scored = Scored(network, lambda logits: logits[:, 5])
    zeros, fives = torch.zeros(4, dtype=int), torch.full((4,), 5)
    methods = [grad_cam, relevance] if isinstance(network, Transformer) else [grad_cam]
    for method in methods:
        expected = method(network, images, fives)
        torch.testing.assert_close(method(scored, images, zeros), expected, rtol=0, atol=0)
