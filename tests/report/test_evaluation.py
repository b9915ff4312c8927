"""The report of an evaluation: files, the honest temperature, the page under a visitor's hands."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import MISSING, browser
from tiny_subjects import SPEC, subject
from torch import nn

from vision_attn.data.batch import Labelled
from vision_attn.report.answers import Answers
from vision_attn.report.calibration import best_temperature
from vision_attn.report.evaluation import Held, evaluation
from vision_attn.report.evaluation_figures import confusion_figure
from vision_attn.report.index import index
from vision_attn.report.judgement import judge
from vision_attn.report.mistakes import worst


class Noise:
    """Images of noise; every fourth is labelled as the network does not answer."""

    def __init__(self, model, seed, count=11):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(count, 3, 16, 12, generator=generator)
        with torch.no_grad():
            given = model.eval()(self.images).argmax(-1)
        self.labels = (given + (torch.arange(count) % 4 == 0)) % model(self.images).shape[1]

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, keys):
        chosen = [place for _, place in keys]
        return Labelled(self.images[chosen], self.labels[chosen])

    def all(self):
        return [self.__getitems__([(0, place) for place in range(len(self))])]


def held(one, split="test"):
    source = Noise(one.model, 1)
    fitting = Noise(one.model, 2, 23).all() if split == "test" else None
    words = ", of which more is known"
    return Held(split=split, source=source, words=words, batches=source.all(), fitting=fitting)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A ResNet, and what its report says of eleven images."""
    home = tmp_path_factory.mktemp("judged")
    one = subject(home, "resnet")
    numbers = evaluation(one, held(one), home / "out", command="again", most=5)
    return one, numbers, home / "out"


def answers(one, source):
    with torch.no_grad():
        return Answers(one.model.eval()(source.images), source.labels)


def test_numbers_are_those_of_the_network(judged):
    one, numbers, out = judged
    given = answers(one, Noise(one.model, 1))
    expected = judge(given, SPEC.names).numbers()
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert json.loads((out / "numbers.json").read_text()) == numbers
    rows = list(csv.DictReader((out / "classes.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == list(SPEC.names)
    assert sum(int(row["images"]) for row in rows) == 11
    rows = list(csv.reader((out / "confusion.csv").read_text().splitlines()))
    assert rows[0] == ["class", "ant", "bee", "cat"]
    expected = judge(given, SPEC.names).confusion
    assert np.array(rows)[1:, 1:].astype(int).tolist() == expected.tolist()


def test_temperature_is_fitted_on_the_validation_images_alone(judged):
    one, numbers, out = judged
    assert numbers["temperature"] == pytest.approx(
        best_temperature(answers(one, Noise(one.model, 2, 23))), rel=1e-3
    )
    assert numbers["temperature"] != pytest.approx(
        best_temperature(answers(one, Noise(one.model, 1))), rel=1e-2
    )
    text = (out / "report.md").read_text()
    assert "on the validation images its cross-entropy" in text
    assert "On 11 test images, of which more is known. Made" in text


def test_the_validation_split_gets_no_temperature_and_is_said_to_flatter(tmp_path):
    one = subject(tmp_path, "resnet")
    numbers = evaluation(one, held(one, "valid"), tmp_path, command="again", most=2)
    assert "temperature" not in numbers
    text = (tmp_path / "report.md").read_text()
    assert "No temperature is fitted" in text
    assert "these numbers flatter it" in text


def test_the_worst_mistakes_come_with_maps_for_answer_and_truth(judged, tmp_path):
    one, _, out = judged
    given = answers(one, Noise(one.model, 1))
    losses = given.losses.where(~given.right, -1)
    order = losses.argsort(descending=True)[: (~given.right).sum()].tolist()
    assert len(order) == 3
    lines = list(index(out / "mistakes"))
    assert list(dict.fromkeys(line["image"] for line in lines)) == [
        f"{rank:03d}-test-{place:05d}" for rank, place in enumerate(order, 1)
    ]
    for line in lines:
        place = int(line["image"][-5:])
        wanted = given.given if line["settings"]["target"] == "predicted" else given.labels
        assert line["target"] == wanted[place]
    assert {line["settings"]["target"] for line in lines} == {"predicted", "label"}
    for most in (2, 1):
        evaluation(one, held(one), tmp_path, command="again", most=most)
    assert {line["image"] for line in index(tmp_path / "mistakes")} == {lines[0]["image"]}


def test_a_network_without_mistakes_shows_its_least_sure_answers():
    logits = torch.tensor([[9.0, 0, 0], [0, 1, 0], [0, 0, 3]])
    found = worst(Answers(logits, torch.arange(3)), SPEC.names, None, "test", 2)
    assert [one.place for one in found] == [1, 2]
    assert all(one.right for one in found)


def test_many_classes_fit_into_the_report(tmp_path):
    names = tuple(f"class|{number}" for number in range(107))
    one = subject(tmp_path, "resnet")
    one.run.spec = one.model.spec = replace(SPEC, names=names)
    one.model.fc = nn.Linear(one.model.fc.in_features, 107)
    evaluation(one, held(one), tmp_path / "out", command="again", most=2)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "The 60 classes of the lowest F1" in text
    assert all(row.count("|") - row.count("\\|") in (0, 4, 5, 6, 8) for row in text.splitlines())
    figure = confusion_figure(torch.eye(107).long(), names)
    assert not figure.axes[0].get_xticklabels()[0].get_text().startswith("class")


def test_page_needs_nothing_from_outside(judged):
    text = (judged[2] / "report.html").read_text()
    assert not re.search(
        r"""(src|href)\s*=|https?://|@import|\bfetch\(""", text.split('id="data"')[0]
    )
    assert not re.search(r"\{\{\w+\}\}", text)


SAID = "return document.getElementById('{}').textContent"


@pytest.mark.skipif(MISSING, reason="needs chromium and chromedriver")
def test_a_visitor_goes_from_a_confusion_to_its_mistake(judged, tmp_path):
    one, numbers, out = judged
    found = worst(answers(one, Noise(one.model, 1)), SPEC.names, Noise(one.model, 1), "test", 5)
    with browser() as visit:
        visit.open((out / "report.html").as_uri())
        visit.wait("return document.querySelectorAll('td').length === 15")
        assert "11 test images" in visit.run(SAID.format("numbers"))
        assert f"{100 * numbers['accuracy']:.1f} %" in visit.run(SAID.format("numbers"))
        assert found[0].path in visit.run(SAID.format("mistakes"))

        last = found[-1]
        chosen = next(x for x in found if x.pair == last.pair)  # the worst one of its kind
        cell = visit.run("return cell()")
        side = 3 * cell / 2
        label, answer = last.pair
        across, down = (round((place + 0.5) * cell - side) for place in (answer, label))
        visit.hover("#confusion", across=across, down=down)
        assert f"{last.label} taken for {last.answer}" in visit.run(SAID.format("confused"))
        visit.run(
            f"const c = document.getElementById('confusion'), b = c.getBoundingClientRect();"
            f"c.dispatchEvent(new MouseEvent('click', {{clientX: b.left + {side + across},"
            f"clientY: b.top + {side + down}}}))"
        )
        visit.wait(f"{SAID.format('mistakes')}.includes('{chosen.path}')")

        assert f"{100 * numbers['ece']:.1f} %" in visit.run(SAID.format("believed"))
        visit.click("#cooled")
        assert f"temperature {numbers['temperature']:.2f}" in visit.run(SAID.format("believed"))
        visit.hover("#reliability", across=155)
        assert "images" in visit.run(SAID.format("believed"))

        visit.click("th", 4)
        shown = visit.run(
            "return [...document.querySelectorAll('tr')].slice(1).map(x => +x.lastChild.innerText)"
        )
        assert shown == sorted(shown)
        visit.click("th", 4)
        back = visit.run(
            "return [...document.querySelectorAll('tr')].slice(1).map(x => +x.lastChild.innerText)"
        )
        assert back == shown[::-1]
        visit.click("#theme")
        visit.screenshot(tmp_path / "page.png")
        assert visit.messages() == []
