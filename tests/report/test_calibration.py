"""Calibration against torchmetrics, scikit-learn and answers whose temperature is known."""

import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from vision_attn.report.answers import Answers
from vision_attn.report.calibration import RANGE, best_temperature, bins, calibration


def drawn(images, temperature, seed=0, outputs=5):
    """Draw labels from the probabilities of logits, and give logits times a temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, outputs, generator=generator)
    labels = logits.softmax(-1).multinomial(1, generator=generator)[:, 0]
    return Answers(logits * temperature, labels)


def test_error_is_that_of_torchmetrics_and_of_the_bins():
    answers = drawn(997, 2.5)
    found = calibration(answers)
    expected = multiclass_calibration_error(
        answers.logits.softmax(-1), answers.labels, 5, n_bins=15
    )
    assert found.error == pytest.approx(expected.item(), abs=1e-6)
    gaps = [one.images * abs(one.confidence - one.accuracy) for one in found.bins]
    assert sum(gaps) / 997 == pytest.approx(found.error, abs=1e-6)
    assert sum(one.images for one in found.bins) == 997


def test_bins_are_those_of_scikit_learn():
    answers = drawn(499, 1.7)
    confidence = answers.probabilities.amax(-1)
    right, sure = calibration_curve(answers.right.numpy(), confidence.numpy(), n_bins=15)
    filled = [one for one in bins(answers) if one.images]
    assert [one.accuracy for one in filled] == pytest.approx(right.tolist())
    assert [one.confidence for one in filled] == pytest.approx(sure.tolist())


def test_brier_score_of_two_classes_is_twice_that_of_scikit_learn():
    answers = drawn(101, 1.0, outputs=2)
    expected = brier_score_loss(answers.labels.numpy(), answers.probabilities[:, 1].numpy())
    assert calibration(answers).brier.value == pytest.approx(2 * expected)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_answers_too_sure_is_found(temperature):
    found = best_temperature(drawn(20_000, temperature))
    assert found == pytest.approx(temperature, rel=0.04)
    held_out = drawn(5_000, temperature, seed=1)
    assert calibration(held_out, found).error < 0.03
    assert torch.equal(held_out.cooled(found).given, held_out.given)


def test_no_temperature_near_by_is_better():
    answers = drawn(307, 2.0)
    best = best_temperature(answers)
    lowest = answers.cooled(best).losses.mean()
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert answers.cooled(best * factor).losses.mean() > lowest


def test_answers_that_are_all_right_stay_within_the_range():
    labels = torch.arange(7)
    answers = Answers(torch.eye(7), labels)
    assert best_temperature(answers) == pytest.approx(RANGE[0], rel=0.01)
