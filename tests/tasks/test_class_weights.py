"""Rare classes weigh more in the loss, by numbers that can be worked out by hand."""

import math

import pytest
import torch
from torch import nn

from vision_attn.data.batch import Labelled
from vision_attn.spec import Spec
from vision_attn.tasks.classification import Classification
from vision_attn.tasks.config import ClassificationConfig

SPEC = Spec(image_size=(1, 1), names=("a", "b", "c"), channels=3)


def make_task(**config) -> Classification:
    return ClassificationConfig(**config).build(nn.Flatten(), SPEC)


def batch(*rows: tuple[int, tuple[float, float, float]]) -> Labelled:
    """Labels, and probabilities whose logarithms the model hands on."""
    images = torch.tensor([probabilities for _, probabilities in rows], dtype=torch.float64).log()
    return Labelled(images[..., None, None], torch.tensor([label for label, _ in rows]))


FEW = batch((0, (0.5, 0.25, 0.25)), (2, (0.125, 0.75, 0.125)))


class Counted:
    """A training split of 5, 3 and 1 images."""

    labels = torch.tensor([0] * 5 + [1] * 3 + [2])


def test_given_weights_multiply_each_images_loss():
    task = make_task(class_weights=(0.5, 7.0, 3.0)).double()
    expected = (0.5 * math.log(2) + 3 * math.log(8)) / 2
    assert task(FEW)["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_balanced_weights_are_images_over_classes_and_images_of_the_class():
    task = make_task(class_weights="balanced")
    task.meet(Counted())
    assert task.class_weights.tolist() == pytest.approx([9 / (3 * 5), 9 / (3 * 3), 9 / 3])
    assert task.class_weights[Counted.labels].mean().item() == pytest.approx(1)
    expected = (9 / 15 * math.log(2) + 3 * math.log(8)) / 2
    assert task.double()(FEW)["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_smoothed_targets_are_weighed_class_by_class():
    task = make_task(class_weights=(0.5, 7.0, 3.0), label_smoothing=0.3).double()
    first = 0.5 * 0.8 * math.log(2) + (7 + 3) * 0.1 * math.log(4)
    second = (0.5 * 0.1 + 3 * 0.8) * math.log(8) + 7 * 0.1 * math.log(4 / 3)
    assert task(FEW)["loss"].item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_pieces_of_a_batch_have_its_mean_loss():
    task = make_task(class_weights=(0.5, 7.0, 3.0)).double()
    pieces = [Labelled(*(x[place : place + 1] for x in FEW)) for place in range(2)]
    mean = sum(task(piece)["loss"].item() for piece in pieces) / 2
    assert task(FEW)["loss"].item() == pytest.approx(mean, rel=1e-12)


def test_evaluation_weighs_all_images_alike():
    plain, weighed = make_task(), make_task(class_weights=(0.5, 7.0, 3.0))
    assert plain.eval()(FEW)["loss"] == weighed.eval()(FEW)["loss"]
    rows = Labelled(FEW.images.float(), FEW.labels)
    for task in (plain, weighed):
        task.register_parameter("place", nn.Parameter(torch.zeros(1)))
    assert plain.evaluate([rows]) == weighed.evaluate([rows])


def test_weights_do_not_end_up_in_checkpoints():
    assert make_task(class_weights=(1.0, 2.0, 3.0)).state_dict() == {}


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1.0, -1.0, 1.0), "class_weights must be 0 or more"), ((), "one a class")],
)
def test_wrong_weights_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        ClassificationConfig(class_weights=weights)


def test_weights_need_the_right_number_and_labels():
    with pytest.raises(ValueError, match=r"^task\.class_weights: needs one number .* 3 classes"):
        make_task(class_weights=(1.0, 2.0))
    task = make_task(class_weights="balanced")
    with pytest.raises(ValueError, match=r"call meet\(\) first"):
        task(FEW)
    with pytest.raises(ValueError, match=r"^task\.class_weights=balanced needs .* got object"):
        task.meet(object())
