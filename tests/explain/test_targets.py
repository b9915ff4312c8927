import pytest
import torch
from tiny import OUTPUTS, Convolutional, Transformer, batch
from torch import nn

from vision_attn.explain.attention import attention
from vision_attn.explain.cam import eigen_cam, grad_cam
from vision_attn.explain.flow import attention_flow
from vision_attn.explain.gradients import saliency
from vision_attn.explain.maps import upsample
from vision_attn.explain.relevance import relevance
from vision_attn.explain.rollout import rollout
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
        ([0, 1, 2, 3], "a tensor of class indices, got list"),
    ],
)
def test_wrong_targets_raise_before_the_network_runs(targets, message):
    network, (images, _) = Convolutional(), batch()
    network.forward = None
    with pytest.raises(ValueError, match=message):
        grad_cam(network, images, targets)


def test_no_image_is_nothing_to_explain():
    images, targets = batch()
    with pytest.raises(ValueError, match="an image to explain, got none"):
        grad_cam(Convolutional(), images[:0], targets[:0])


@pytest.mark.parametrize("method", [relevance, saliency, grad_cam, eigen_cam])
def test_several_classes_of_an_image_at_once_raise(method):
    images, targets = batch()
    with pytest.raises(ValueError, match=r"one class an image, got targets of shape \(4, 2\)"):
        method(Transformer(), images, targets[:, None].expand(-1, 2))


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


@pytest.mark.parametrize("method", [attention, rollout, attention_flow, eigen_cam])
def test_a_class_out_of_range_raises_though_the_map_is_the_same_for_all(method):
    images, targets = batch()
    with pytest.raises(ValueError, match=rf"in \[0, {OUTPUTS}\), got \[11\]"):
        method(Transformer(), images, targets.clamp_min(11))


def test_a_map_without_a_class_is_given_whatever_the_output_is():
    network, (images, targets) = Transformer(), batch()
    expected = rollout(network, images, targets)
    forward = network.forward
    network.forward = lambda images, tape=None: forward(images, tape)[:, :, None, None]
    torch.testing.assert_close(rollout(network, images, targets + 99), expected, rtol=0, atol=0)


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


class Painter(nn.Module):
    """Gives a score for every class at every position."""

    def __init__(self):
        super().__init__()
        self.body = Convolutional()
        self.cam_layer, self.readout, self.to_map = self.body.last, None, self.body.to_map

    def forward(self, images, tape=None):
        features = self.body.last(self.body.second(self.body.relu(self.body.first(images))))
        return torch.einsum("oc,bcij->boij", self.body.head[0].weight, features)


def test_a_mask_of_a_segmentation_is_explained_from_its_pixels_alone():
    painter, (images, _) = Painter(), batch(size=(20, 30))
    painted = painter(images)
    mask = torch.zeros(painted.shape[2:], dtype=torch.float64)
    mask[:2, :3] = 1
    scored = Scored(painter, lambda logits: (logits[:, 3] * mask).sum((-2, -1)))
    zeros = torch.zeros(len(images), dtype=int)
    gradient = saliency(scored, images, zeros)
    assert gradient[:, :8, :10].any()
    assert not gradient[:, 12:].any()  # no pixel of the mask sees so far
    maps = grad_cam(scored, images, zeros)
    channels = painter.body.head[0].weight[3] * mask.sum() / mask.numel()
    kept = []
    handle = painter.cam_layer.register_forward_hook(lambda *run: kept.append(run[2]))
    painter(images)
    handle.remove()
    expected = torch.einsum("bcij,c->bij", kept[0], channels).relu()
    torch.testing.assert_close(maps, upsample(expected, (20, 30)).detach())
