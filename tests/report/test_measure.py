import json
from dataclasses import replace

import pytest
import torch
from tiny_subjects import SPEC

from vision_attn.data.batch import Labelled
from vision_attn.explain.faithfulness import deletion
from vision_attn.explain.localisation import energy_in_mask, pointing_game
from vision_attn.explain.methods import METHODS
from vision_attn.report.interval import share
from vision_attn.report.measure import (
    Evidence,
    conditions,
    curve,
    measure,
    score_maps,
    train_seconds,
)


@pytest.fixture
def numbers(subjects, evidence, monkeypatch):
    monkeypatch.setattr("vision_attn.report.cost._rate", lambda model, images, seconds: 3.0)
    return measure(subjects, [evidence] * 2, batch_size=4)


def test_accuracy_counts_the_uneven_last_batch_once(subjects, evidence, numbers):
    for subject in subjects:
        with torch.no_grad():
            answers = subject.model.eval()(evidence.images).argmax(-1)
        hits = int((answers == evidence.labels).sum())
        assert numbers[subject.name].accuracy == share(hits, 11)


@pytest.mark.parametrize("method", ["grad_cam", "rollout", "relevance"])
def test_scores_are_those_of_the_metrics_for_the_true_class(subjects, evidence, numbers, method):
    model = subjects[0].model
    maps = METHODS[method](model, evidence.images, evidence.labels)
    got = {name: number.value for name, number in numbers["vit"].maps[method].items()}
    assert got == pytest.approx(
        {
            "pointing_game": pointing_game(maps, evidence.masks).mean().item(),
            "energy": energy_in_mask(maps, evidence.masks).mean().item(),
            "deletion": deletion(model, evidence.images, evidence.labels, maps).mean().item(),
        },
        abs=1e-5,
    )


def test_every_network_is_scored_beside_baselines_with_interval_and_count(numbers):
    assert list(numbers["vit"].maps) == ["grad_cam", "rollout", "relevance", "random", "centre"]
    assert list(numbers["resnet"].maps) == ["grad_cam", "random", "centre"]
    for measured in numbers.values():
        for scores in measured.maps.values():
            for number in scores.values():
                assert 0 <= number.low <= number.value <= number.high <= 1
                assert number.images == 11


def test_scores_do_not_depend_on_the_batch_size(subjects, evidence):
    small, large = (score_maps(subjects[0], evidence, batch_size) for batch_size in (3, 64))
    for method, scores in small.items():
        for name, values in scores.items():
            torch.testing.assert_close(values, large[method][name], rtol=0, atol=1e-5)


def test_without_masks_only_faithfulness_is_scored(subjects, evidence):
    scores = score_maps(subjects[1], replace(evidence, masks=None))
    assert {name for found in scores.values() for name in found} == {"deletion", "flat"}
    assert "pointing_game" not in conditions(subjects, [replace(evidence, masks=None)] * 2, seed=0)


def test_numbers_are_plain_json(numbers):
    entries = json.loads(json.dumps(numbers["resnet"].to_dict(), allow_nan=False))
    assert entries["images"] == 11
    assert entries["images_per_second"] == 3.0
    assert len(entries["accuracy_interval"]) == 2
    scores = entries["maps"]["grad_cam"]
    assert scores["images"] == 11
    assert scores["pointing_game_interval"][0] <= scores["pointing_game"]
    assert set(scores) >= {"energy", "energy_interval", "deletion", "deletion_interval"}


def test_maps_that_say_nothing_are_counted(subjects, evidence, monkeypatch):
    def silent(model, images, targets):
        maps = images.mean(1)
        maps[targets == 1] = 0
        return maps

    monkeypatch.setitem(METHODS, "grad_cam", silent)
    scores = score_maps(subjects[1], evidence)
    assert int(scores["grad_cam"]["flat"].sum()) == int((evidence.labels == 1).sum()) > 0
    assert not scores["random"]["flat"].any()


def test_training_time_and_curve_come_from_the_metrics(subjects):
    assert train_seconds(subjects[0].run) == 4.0
    found = curve(subjects[0])
    assert (found.steps, found.seconds, found.accuracy) == ([10, 20], [2.0, 4.0], [0.2, 0.4])


def test_a_run_without_metrics_has_no_time_and_no_curve(subjects):
    (subjects[0].run.folder / "metrics.jsonl").unlink()
    assert train_seconds(subjects[0].run) is None
    assert curve(subjects[0]).accuracy == []


def test_models_are_left_as_they_were(subjects, evidence, numbers):
    for subject in subjects:
        assert all(module.training for module in subject.model.modules())
        assert all(weight.grad is None for weight in subject.model.parameters())


def test_subjects_of_one_name_are_refused(subjects, evidence):
    with pytest.raises(ValueError, match="different names"):
        measure([subjects[0], subjects[0]], [evidence] * 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"names": ("ant", "bee", "dog")}, "names=cat of vit and dog of resnet"),
        ({"names": ("ant", "bee")}, "names=3 classes of vit and 2 classes of resnet"),
        ({"several": True}, "several=False of vit and True of resnet"),
    ],
)
def test_subjects_of_other_classes_are_told_what_differs(subjects, evidence, changes, said):
    subjects[1].run.spec = replace(subjects[1].run.spec, **changes)
    with pytest.raises(ValueError) as caught:
        measure(subjects, [evidence] * 2)
    assert f"tell the same classes, got {said}; `vision-attn evaluate`" in str(caught.value)


def test_evidence_of_other_labels_is_refused(subjects, evidence):
    fewer = replace(evidence, images=evidence.images[:7], labels=evidence.labels[:7])
    with pytest.raises(ValueError, match=r"the same images, got \[11, 7\] images"):
        measure(subjects, [evidence, fewer])


def test_a_subject_of_another_view_is_measured_on_its_own_images(subjects, evidence, monkeypatch):
    monkeypatch.setattr("vision_attn.report.cost._rate", lambda model, images, seconds: len(images))
    images = evidence.images[..., :13, :11] * 2 - 0.1
    small = Evidence(
        [Labelled(images, evidence.labels)], images, evidence.labels, evidence.masks[:, :13, :11]
    )
    subjects[1].run.spec = replace(SPEC, image_size=(13, 11), std=(0.25,) * 3)
    together = measure(subjects, [evidence, small])
    for subject, own in zip(subjects, (evidence, small), strict=True):
        alone = measure([subject], [own])[subject.name]
        assert together[subject.name].to_dict() == alone.to_dict()
    other = measure(subjects[1:], [evidence])["resnet"]
    assert other.flops > together["resnet"].flops
    assert other.maps["grad_cam"] != together["resnet"].maps["grad_cam"]
    known = conditions(subjects, [evidence, small], seed=0)
    assert known["views"]["resnet"]["image_size"] == [13, 11]
    shares = [own.masks.double().mean().item() for own in (evidence, small)]
    assert known["mask_share"] == pytest.approx(sum(shares) / 2)


def test_an_unknown_method_is_refused_with_the_known_ones(subjects):
    with pytest.raises(ValueError, match=r"grad_cam.*got \['gradcam'\]"):
        replace(subjects[0], methods=("gradcam",))
