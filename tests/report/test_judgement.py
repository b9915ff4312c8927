"""Scores of a classifier against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn

from vision_attn.data.batch import Labelled
from vision_attn.report.answers import Answers, answer
from vision_attn.report.interval import share
from vision_attn.report.judgement import judge

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


def answers(images=211, outputs=7, seed=0, absent=()):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(outputs, (images,), generator=generator)
    for label in absent:
        labels[labels == label] = 0
    logits = torch.randn(images, outputs, generator=generator)
    logits[torch.arange(images), labels] += 1.5
    logits[:, list(absent)] = -50
    return Answers(logits, labels)


@pytest.mark.parametrize("absent", [(), (5,)])
def test_scores_agree_with_scikit_learn(absent):
    given = answers(absent=absent)
    truth, said = given.labels.numpy(), given.given.numpy()
    got = judge(given, NAMES)
    assert got.accuracy.value == metrics.accuracy_score(truth, said)
    top5 = metrics.top_k_accuracy_score(truth, given.logits.numpy(), k=5, labels=range(7))
    assert got.accuracy_top5.value == pytest.approx(top5)
    assert got.macro_f1.value == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    chances = given.logits.double().softmax(-1).numpy()
    expected = metrics.log_loss(truth, chances, labels=range(7))
    assert got.loss.value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(
        got.confusion, metrics.confusion_matrix(truth, said, labels=range(7))
    )
    precision, recall, f1, images = metrics.precision_recall_fscore_support(
        truth, said, labels=range(7), zero_division=0
    )
    for place, one in enumerate(got.classes):
        assert one.images == images[place]
        assert one.f1 == pytest.approx(f1[place])
        if place in absent:
            assert (one.recall, one.precision, one.mistaken_for) == (None, None, None)
        else:
            assert one.recall == share(round(recall[place] * images[place]), images[place])
            assert one.precision == pytest.approx(precision[place])


def test_a_class_says_what_it_is_mistaken_for():
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    logits = torch.nn.functional.one_hot(torch.tensor([0, 2, 2, 1, 1, 2]), 3).float()
    ant, bee, cat = judge(Answers(logits, labels), NAMES[:3]).classes
    assert ant.mistaken_for == ("cat", 2)
    assert bee.mistaken_for is cat.mistaken_for is None


def test_an_answer_that_no_image_deserves_lowers_macro_f1():
    labels, said = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 3, 1, 0])
    got = judge(Answers(torch.nn.functional.one_hot(said, 5).float(), labels), NAMES[:5])
    assert got.macro_f1.value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert got.macro_f1.value == pytest.approx(metrics.f1_score(labels, said, average="macro"))


def test_intervals_surround_their_numbers_and_depend_on_the_seed_only():
    given = answers()
    first, again, other = (judge(given, NAMES, seed) for seed in (0, 0, 1))
    assert first.numbers() == again.numbers()
    assert first.macro_f1 != other.macro_f1
    for number in (first.accuracy, first.macro_f1, first.loss):
        assert number.low < number.value < number.high
    # of an F1 that is nearly the accuracy, the interval is nearly the accuracy's
    assert first.macro_f1.high - first.macro_f1.low == pytest.approx(
        first.accuracy.high - first.accuracy.low, rel=0.2
    )


def test_five_classes_have_no_five_guesses():
    got = judge(answers(outputs=5), NAMES[:5])
    assert got.accuracy_top5 is None
    assert "accuracy_top5" not in got.numbers()


def test_answers_are_collected_in_order_and_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3)).train()
    images, labels = torch.randn(7, 3, 2, 2), torch.arange(7) % 3
    batches = [Labelled(images[:5], labels[:5]), Labelled(images[5:], labels[5:])]
    got = answer(model, batches, torch.device("cpu"), "test")
    torch.testing.assert_close(got.logits, model[2](images.flatten(1)).detach())
    assert torch.equal(got.labels, labels)
    assert model[1].training
    with pytest.raises(ValueError, match="at least one image"):
        answer(model, [], torch.device("cpu"), "test")
