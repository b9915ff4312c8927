"""Scores of several labels an image against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional.classification import binary_calibration_error

from vision_attn.report.calibration import BINS, distance
from vision_attn.report.interval import bootstraps, share
from vision_attn.report.tag_judgement import TagAnswers, best_thresholds, judge_tags, ranking

NAMES = ("ant", "bee", "cat", "dog", "elk")


def answers(images=211, seed=0, absent=(), rough=False):
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(images, 5, generator=generator) < torch.linspace(0.1, 0.6, 5)).float()
    labels[:, list(absent)] = 0
    logits = torch.randn(images, 5, generator=generator) + 1.5 * labels - 0.7
    logits[:, 0] -= 9  # the first is never said to apply
    return TagAnswers(logits.round() if rough else logits, labels)


@pytest.mark.parametrize("absent", [(), (3,)])
@pytest.mark.parametrize("rough", [False, True], ids=["all different", "many alike"])
def test_scores_agree_with_scikit_learn(absent, rough):
    given = answers(absent=absent, rough=rough)
    truth, chances = given.labels.numpy(), given.logits.double().sigmoid().numpy()
    said, there = chances > 0.5, [place for place in range(5) if place not in absent]
    got = judge_tags(given, NAMES)
    average = metrics.average_precision_score(truth[:, there], chances[:, there], average=None)
    assert got.average_precision.value == pytest.approx(average.mean())
    each = metrics.f1_score(truth, said, average=None, zero_division=0)
    assert got.f1.value == pytest.approx(each[there].mean())
    micro = metrics.f1_score(truth, said, average="micro")
    assert got.f1_micro.value == pytest.approx(micro)
    assert got.exact.value == pytest.approx(metrics.accuracy_score(truth, said))
    expected = np.mean(
        [metrics.log_loss(truth[:, x], chances[:, x], labels=[0, 1]) for x in range(5)]
    )
    assert got.loss.value == pytest.approx(expected, rel=1e-6)
    precision, recall, _, _ = metrics.precision_recall_fscore_support(
        truth, said, average=None, zero_division=0
    )
    for place, one in enumerate(got.labels):
        assert one.images == truth[:, place].sum()
        if one.precision is None:
            assert not said[:, place].any()
        else:
            assert one.precision.value == pytest.approx(precision[place])
        if place in absent:
            assert one.recall is one.average_precision is None
            assert one.f1 == 0
        else:
            hits = round(recall[place] * one.images)
            assert one.recall == share(hits, one.images)
            assert one.average_precision.value == pytest.approx(average[there.index(place)])
            assert one.f1 == pytest.approx(each[place])
    assert got.labels[0].precision is None


def test_calibration_of_each_label_agrees_with_torchmetrics():
    given = answers()
    got = judge_tags(given, NAMES)
    for place, one in enumerate(got.labels):
        chances, truth = given.probabilities[:, place], given.labels[:, place].int()
        expected = binary_calibration_error(chances.contiguous(), truth, n_bins=BINS).item()
        assert one.error == pytest.approx(expected, rel=1e-5)
        assert sum(x.images for x in one.bins) == 211
    pooled = binary_calibration_error(
        given.probabilities.flatten(), given.labels.int().flatten(), n_bins=BINS
    )
    assert distance(got.bins) == pytest.approx(pooled.item(), rel=1e-5)
    assert got.numbers()["ece"] == distance(got.bins)


def test_a_weight_is_as_good_as_so_many_copies():
    given = answers(images=31, rough=True)
    chosen = torch.randint(31, (31,), generator=torch.Generator().manual_seed(1))
    weighed = ranking(given)(torch.bincount(chosen, minlength=31).double())
    copies = metrics.average_precision_score(
        given.labels[chosen].numpy(), given.logits[chosen].numpy(), average=None
    )
    np.testing.assert_allclose(weighed, copies)


@pytest.mark.parametrize("rough", [False, True], ids=["all different", "many alike"])
def test_no_threshold_gives_a_higher_f1_than_the_fitted_one(rough):
    given = answers(absent=(3,), rough=rough)
    fitted = best_thresholds(given)
    assert fitted[3] == 0.5
    for place in (0, 1, 2, 4):
        truth, chances = given.labels[:, place].numpy(), given.probabilities[:, place].numpy()
        precision, recall, _ = metrics.precision_recall_curve(truth, chances)
        best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        said = chances > fitted[place]
        assert metrics.f1_score(truth, said) == pytest.approx(best)
    got = judge_tags(given, NAMES, fitted)
    assert got.f1_fitted.value > got.f1.value
    assert [one.threshold for one in got.labels] == fitted
    said = given.probabilities.numpy() > np.array(fitted)
    micro = metrics.f1_score(given.labels.numpy(), said, average="micro")
    assert got.f1_micro_fitted.value == pytest.approx(micro)
    each = metrics.f1_score(given.labels.numpy(), said, average=None, zero_division=0)
    assert [one.f1_fitted or 0 for one in got.labels] == pytest.approx(each.tolist())


def test_intervals_surround_their_numbers_and_depend_on_the_seed_only():
    given = answers()
    first, again, other = (judge_tags(given, NAMES, seed=seed) for seed in (0, 0, 1))
    assert first.numbers() == again.numbers()
    assert first.average_precision != other.average_precision
    for number in (first.average_precision, first.f1, first.f1_micro, first.exact, first.loss):
        assert number.low < number.value < number.high
    assert all(x.average_precision.low < x.average_precision.high for x in first.labels)
    assert "f1_fitted" not in first.numbers()
    assert first.numbers()["images"] == 211


def test_a_mean_is_not_better_where_a_sample_lacks_its_worst_label():
    labels = torch.zeros(29, 2)
    labels[:17, 0], labels[28, 1] = 1, 1
    logits = torch.stack([8 * labels[:, 0] - 4, -torch.arange(29) - 1.0], 1)  # right; all wrong
    got = judge_tags(TagAnswers(logits, labels), ("plain", "rare"))
    assert got.average_precision.value == pytest.approx((1 + 1 / 29) / 2)
    assert got.f1.value == 0.5
    # The rare one, on one image of 29, is in 64 % of the samples, and never recognised.
    assert got.average_precision.high < 0.6
    assert (got.f1.low, got.f1.high) == (0.5, 0.5)


def test_an_interval_leaves_out_where_a_number_is_undefined():
    values = torch.tensor([0.0, 1.0, 2.0, 3.0])

    def statistic(chosen):
        rare = values[chosen] == 3
        return torch.stack([values[chosen].mean(), torch.where(rare.any(), rare.sum(), torch.nan)])

    plain, rare = bootstraps(statistic, 4, torch.Generator().manual_seed(0), 500)
    assert plain.low < plain.value < plain.high
    assert (rare.value, rare.low) == (1, 1)
    assert rare.high >= 2


def test_a_split_without_labels_is_refused():
    with pytest.raises(ValueError, match="at least one label must apply to an image, got none"):
        judge_tags(TagAnswers(torch.zeros(7, 5), torch.zeros(7, 5)), NAMES)
