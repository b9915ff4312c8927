"""The report on a moving eye: figures, numbers and the document."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_subjects import SPEC, subject  # noqa: F401  # the fixtures' own builder

from vision_attn.data.batch import Labelled
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.report.glimpses import Price, glimpse_report, heat, place_figure, step_figure
from vision_attn.report.interval import share
from vision_attn.report.measure import Evidence, Subject, accuracy
from vision_attn.report.walk import Habits, habits, multiply_adds


@pytest.fixture
def eye(subjects):
    torch.manual_seed(3)
    model = GlimpseConfig(glimpses=3, size=4, scales=2, hidden=8).build(SPEC)
    return Subject("eye", subjects[0].run, model, ())


def test_the_report_tells_what_was_measured(eye, subjects, evidence, tmp_path):
    few = replace(evidence, images=evidence.images[:2], labels=evidence.labels[:2])
    report = glimpse_report(eye, subjects, [few] * 3, tmp_path, split="valid", command="make it")
    numbers = json.loads((tmp_path / "glimpses.json").read_text())
    found = habits(eye.model, evidence.batches)
    assert numbers["images"] == 11
    assert [step["accuracy"] for step in numbers["after"]] == pytest.approx(
        [hits / 11 for hits in found.hits.tolist()]
    )
    costs = multiply_adds(eye.model, evidence.images)
    assert [step["multiply_adds"] for step in numbers["after"]] == costs
    border = (found.centres.abs().amax(-1) >= 0.95).sum(0).tolist()
    assert numbers["borders"] == pytest.approx([places / 11 for places in border])
    assert numbers["others"].keys() == {"vit", "resnet"}
    words = report.read_text()
    error = 100 * (1 - found.hits[-1].item() / 11)
    assert f"| 3 glimpses | {error:.2f} %" in words
    assert "`make it`" in words
    assert "On 11 validation images" in words
    assert "The validation images chose the best weights" in words
    assert "has seen enough" not in words
    for name in ("steps.png", "places.png", "trail-00.png", "trail-01.png", "trail-01.gif"):
        assert (tmp_path / name).stat().st_size > 1000
        assert name in words


def test_rivals_are_measured_on_images_prepared_for_them(eye, subjects, evidence, tmp_path):
    images = evidence.images[..., :13, :11] * 2
    small = Evidence([Labelled(images, evidence.labels)], images[:1], evidence.labels[:1])
    few = replace(evidence, images=evidence.images[:1], labels=evidence.labels[:1])
    glimpse_report(eye, subjects[1:], [few, small], tmp_path, split="valid", command="make it")
    found = json.loads((tmp_path / "glimpses.json").read_text())["others"]["resnet"]
    assert found["accuracy"] == accuracy(subjects[1], small.batches).value
    assert found["multiply_adds"] == multiply_adds(subjects[1].model, images[:1])[-1]
    assert found["multiply_adds"] < multiply_adds(subjects[1].model, evidence.images[:1])[-1]


def test_heat_counts_places_where_they_are():
    centres = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.6, -0.9], [0.6, -0.9]])
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[3, 3], expected[0, 3] = 0.25, 0.25, 0.5
    torch.testing.assert_close(heat(centres, 4), expected)


def test_places_are_drawn_together_and_for_every_glimpse():
    centres = torch.zeros(7, 3, 2)
    centres[:, 1] = 1.0
    centres[0, 2] = -1.0  # never visited: this image was seen enough after two
    taken = torch.tensor([2, *[3] * 6])
    figure = place_figure(Habits(centres, torch.zeros(3), taken))
    together, *single, border = figure.axes
    assert together.get_title() == "after the first"
    seen = together.images[0].get_array()
    np.testing.assert_allclose(seen[-1, -1], 7 / 13)
    np.testing.assert_allclose(seen.max() + seen[12, 12], 1)  # glimpses 2 and 3 lie at two places
    assert [ax.get_title() for ax in single] == ["glimpse 1", "glimpse 2", "glimpse 3"]
    assert figure.axes[2].images[0].get_array()[-1, -1] == 1
    assert "53.8 % of the places after the first lie at the border" in figure._supxlabel.get_text()
    bars = {int(bar.get_x() + 0.5): bar.get_height() for bar in border.patches}
    assert bars == {2: 100, 3: 0}
    assert (border.get_xlabel(), border.get_ylabel()) == ("glimpse", "images, %")


def test_accuracy_is_drawn_over_what_it_takes():
    steps = [Price(str(n), share(n, 10), n * 10**6) for n in (1, 2, 3)]
    figure = step_figure(steps, [Price("resnet", share(9, 10), 5 * 10**7)])
    (ax,) = figure.axes
    line, rival = ax.lines
    assert line.get_xydata().tolist() == [[1, 10], [2, 20], [3, 30]]
    assert rival.get_xydata().tolist() == [[50, 90]]
    assert {text.get_text() for text in ax.texts} == {"1", "2", "3"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ResNet"]
    assert step_figure(steps, []).axes[0].get_legend() is None
