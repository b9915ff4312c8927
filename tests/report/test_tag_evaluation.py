"""The report on several labels an image: files, honest thresholds, the page under a visitor."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import MISSING, browser
from sklearn import metrics
from tiny_subjects import SPEC, subject
from torch import nn

from vision_attn.data.batch import Tagged
from vision_attn.report.evaluation import Held
from vision_attn.report.index import index
from vision_attn.report.tag_evaluation import tag_evaluation
from vision_attn.report.tag_judgement import TagAnswers, best_thresholds, judge_tags
from vision_attn.report.tag_mistakes import worst_tags
from vision_attn.report.tag_page import POINTS, curve

NAMES = SPEC.names


class Noise:
    """Images of noise; the labels are those said, but for one in five."""

    def __init__(self, model, seed, count=13):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(count, 3, 16, 12, generator=generator)
        with torch.no_grad():
            self.logits = model.eval()(self.images)
        said = self.logits > self.logits.median(0).values
        self.labels = (said ^ (torch.rand(said.shape, generator=generator) < 0.2)).float()

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, keys):
        chosen = [place for _, place in keys]
        return Tagged(self.images[chosen], self.labels[chosen])

    def all(self):
        return [self.__getitems__([(0, place) for place in range(len(self))])]


def several(home):
    """A tiny ResNet whose outputs are labels, said to apply half of the time."""
    one = subject(home, "resnet")
    one.run.spec = one.model.spec = replace(SPEC, several=True)
    return one


def held(one, split="test", **settings):
    source = Noise(one.model, 1)
    fitting = Noise(one.model, 2, 23).all() if split == "test" and not settings else None
    settings = {"words": "", "fitting": fitting} | settings
    return Held(split=split, source=source, batches=source.all(), **settings)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    home = tmp_path_factory.mktemp("tags")
    one = several(home)
    numbers = tag_evaluation(one, held(one), home / "out", command="again", most=5)
    return one, numbers, home / "out"


def answers(source):
    return TagAnswers(source.logits, source.labels)


def test_numbers_are_those_of_the_network_and_thresholds_those_of_validation(judged):
    one, numbers, out = judged
    fitted = best_thresholds(answers(Noise(one.model, 2, 23)))
    expected = judge_tags(answers(Noise(one.model, 1)), NAMES, fitted).numbers()
    assert numbers == pytest.approx(expected, rel=1e-4)
    assert json.loads((out / "numbers.json").read_text()) == numbers
    told = json.loads((out / "thresholds.json").read_text())
    assert told == pytest.approx(dict(zip(NAMES, fitted, strict=True)), rel=1e-4)
    rows = list(csv.DictReader((out / "labels.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == list(NAMES)
    assert [float(row["threshold"]) for row in rows] == pytest.approx(list(told.values()))
    counts = Noise(one.model, 1).labels.sum(0).tolist()
    assert [int(row["images"]) for row in rows] == counts
    text = (out / "report.md").read_text()
    assert "On 13 test images. Made, and made again, by `again`." in text
    assert "| macro F1, fitted thresholds |" in text


def test_other_data_take_the_thresholds_over(judged, tmp_path):
    one, _, out = judged
    settings = {"of": "photos", "fitted": out, "fitting": None}
    numbers = tag_evaluation(one, held(one, **settings), tmp_path, command="again", most=1)
    assert numbers["f1_fitted"] == json.loads((out / "numbers.json").read_text())["f1_fitted"]
    assert not (tmp_path / "thresholds.json").exists()
    assert "test images of photos. Made" in (tmp_path / "report.md").read_text()


def test_the_validation_split_gets_no_thresholds_and_is_said_to_flatter(tmp_path):
    one = several(tmp_path)
    numbers = tag_evaluation(one, held(one, "valid"), tmp_path / "o", command="again", most=1)
    assert "f1_fitted" not in numbers
    assert "these numbers flatter it" in (tmp_path / "o" / "report.md").read_text()


def test_the_worst_mistakes_come_with_maps_for_label_and_surest_other(judged):
    one, _, out = judged
    given = answers(Noise(one.model, 1))
    wrong = (given.said() != given.truth).any(1)
    costs = given.losses.where(given.said() != given.truth, -1).amax(1)
    order = costs.argsort(descending=True)[: min(5, int(wrong.sum()))].tolist()
    lines = list(index(out / "mistakes"))
    assert list(dict.fromkeys(line["image"] for line in lines)) == [
        f"{rank:03d}-test-{place:05d}" for rank, place in enumerate(order, 1)
    ]
    for line in lines:
        place = int(line["image"][-5:])
        number = int(
            given.losses[place].where(given.said()[place] != given.truth[place], -1).argmax()
        )
        if line["settings"]["target"] == "mistaken":
            assert line["target"] == number
        else:
            others = given.logits[place].clone()
            others[number] = -torch.inf
            assert line["target"] == int(others.argmax())
    assert {x["settings"]["target"] for x in lines} == {"mistaken", "surest other"}


def test_what_is_wrong_is_said_in_words():
    logits = torch.tensor([[3.0, -0.5, -2], [1, -4, -1], [2, 2, 2]])
    labels = torch.tensor([[0.0, 0, 0], [1, 1, 0], [1, 1, 1]])
    missed, false = worst_tags(TagAnswers(logits, labels), NAMES, None, "test", 9)
    assert (missed.place, missed.label, missed.words) == (1, "bee", "missed")
    assert missed.true == ("ant", "bee")
    assert missed.wanted == {"mistaken": 1, "surest other": 0}
    assert (false.place, false.label, false.words) == (0, "ant", "said though absent")
    assert false.true == ()
    right = worst_tags(TagAnswers(logits, (logits > 0).float()), NAMES, None, "test", 2)
    assert right[0][2:5] == (0, 1, "bee")
    assert right[0].words == "right, but unsure"


@pytest.mark.parametrize("step", [0, 0.5], ids=["all different", "many alike"])
def test_curves_pass_through_the_points_of_scikit_learn(step):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(61, generator=generator) < 0.4
    chances = (torch.randn(61, generator=generator) + truth).sigmoid().double()
    if step:
        chances = (chances * 10).round() / 10
    found = curve(chances, truth)
    precision, recall, thresholds = metrics.precision_recall_curve(truth, chances)
    known = dict(zip(thresholds.tolist(), zip(recall, precision, strict=False), strict=False))
    assert len(found) == len(np.unique(recall[:-1][recall[:-1] > 0]))
    for reached, right, chance in found.tolist():
        assert (reached, right) == pytest.approx(known[chance])
    assert len(curve(torch.linspace(0, 1, 999).double(), torch.ones(999, dtype=bool))) == POINTS
    assert curve(chances, torch.zeros(61, dtype=bool)).shape == (0, 3)


def test_many_labels_fit_into_the_report(tmp_path):
    one = several(tmp_path)
    names = tuple(f"label|{number}" for number in range(67))
    one.run.spec = one.model.spec = replace(SPEC, names=names, several=True)
    one.model.fc = nn.Linear(one.model.fc.in_features, 67)
    tag_evaluation(one, held(one, "valid"), tmp_path / "out", command="again", most=1)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "The 60 labels of the lowest average precision" in text
    assert all(row.count("|") - row.count("\\|") in (0, 4, 6, 8) for row in text.splitlines())


SAID = "return document.getElementById('{}').textContent"


@pytest.mark.skipif(MISSING, reason="needs chromium and chromedriver")
def test_a_visitor_goes_from_label_to_label(judged, tmp_path):
    one, numbers, out = judged
    given = answers(Noise(one.model, 1))
    found = worst_tags(given, NAMES, Noise(one.model, 1), "test", 5)
    scores = judge_tags(given, NAMES).labels
    with browser() as visit:
        visit.open((out / "report.html").as_uri())
        visit.wait("return document.querySelectorAll('td').length === 21")
        visit.wait("return document.querySelectorAll('[aria-selected=true]').length === 1")
        assert "13 test images" in visit.run(SAID.format("numbers"))
        assert f"{numbers['average_precision']:.3f}" in visit.run(SAID.format("numbers"))
        assert found[0].path in visit.run(SAID.format("mistakes"))
        assert f"{found[0].label}: precision over recall" in visit.run(SAID.format("label"))
        shown = visit.run("return document.querySelector('main section header div').textContent")
        assert shown.startswith(f"{found[0].label} {100 * found[0].probability:.1f} %: ")
        assert found[0].words in shown
        for place, name in enumerate(NAMES):
            visit.click("#classes tr[data-at]", place)
            visit.wait(f"{SAID.format('label')}.startsWith('{name}: ')")
            assert f"{scores[place].average_precision.value:.3f}" in visit.run(
                SAID.format("reached")
            )
            said = visit.run(SAID.format("believed"))
            assert f"{name}: calibration error {100 * scores[place].error:.1f} %" in said
        visit.click("#every")
        assert f"{100 * numbers['ece']:.1f} %" in visit.run(SAID.format("believed"))
        visit.hover("#curve", across=150)
        assert "finds 100.0 % of its images" in visit.run(SAID.format("reached"))
        bins = judge_tags(given, NAMES).bins
        filled = next(place for place, one in enumerate(bins) if one.images)
        visit.hover("#reliability", across=round((filled + 0.5) / len(bins) * 320) - 160)
        assert f"said {bins[filled].images} times" in visit.run(SAID.format("believed"))
        visit.click("th", 5)
        shown = visit.run(
            "return [...document.querySelectorAll('tr')].slice(1).map(x => +x.cells[5].innerText)"
        )
        assert shown == sorted(shown)
        visit.click("#theme")
        visit.screenshot(tmp_path / "page.png")
        assert visit.messages() == []
