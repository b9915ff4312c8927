"""The report of a study: means and intervals over seeds, as table, figure and files."""

import json

import pytest

from vision_attn.report.study import STARTS, Outcome, cells, interval, study_report
from vision_attn.report.study_figure import Line, Point, study_figure


def outcome(network="vit", start="scratch", share=0.1, seed=0, accuracy=0.5):
    return Outcome(
        network=network,
        start=start,
        share=share,
        seed=seed,
        images=int(700 * share),
        accuracy=accuracy,
        test_images=110,
        steps=13,
        batch_size=17,
        seconds=60.0,
        run=f"{network}{seed}",
    )


FOUND = [
    outcome(
        network, start, share, seed, accuracy=0.5 + share / 5 + seed / 50 + (start != "scratch") / 5
    )
    for network in ("vit", "resnet")
    for start in STARTS
    for share in (0.1, 1.0)
    for seed in (1, 2, 3)
]


def test_the_interval_of_a_mean_is_that_of_student():
    # Half a width of t(0.975, 2) s / sqrt(3): the table of Student's t has 4.302653 for 2 degrees.
    low, high = interval([0.7, 0.8, 0.9])
    assert (low + high) / 2 == pytest.approx(0.8)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    assert interval([0.7]) is None


def test_seeds_are_joined_and_counted():
    rows = cells(FOUND)
    assert len(rows) == 8
    assert {(row.n, *row.seeds) for row in rows} == {(3, 1, 2, 3)}
    by_place = {(row.network, row.start, row.share): row.accuracy for row in rows}
    assert by_place["vit", "fine_tuned", 0.1] == pytest.approx(0.5 + 0.02 + 0.04 + 0.2)


def test_the_report_has_a_row_a_share_and_its_best_is_bold(tmp_path):
    found = [outcome(seed=1, accuracy=0.25), outcome("resnet", seed=1, accuracy=0.5)]
    text = study_report(found, 4, str(tmp_path), "vision-attn study s.yaml").read_text()
    assert "2 of 4 trainings, each of 13 steps of 17 images" in text
    assert "| training images | ResNet, from scratch | ViT, from scratch |" in text
    assert "| 10 % (70) | **50.0** (one seed) | 25.0 (one seed) |" in text
    assert "Made by `vision-attn study s.yaml`" in text


def test_the_files_hold_the_same_numbers(tmp_path):
    report = study_report(FOUND, 24, str(tmp_path), "again")
    entries = json.loads((tmp_path / "report.json").read_text())
    for cell in entries["cells"]:
        assert f"{100 * cell['accuracy']:.1f}" in report.read_text()
        assert cell["interval"][0] < cell["accuracy"] < cell["interval"][1]
    assert (tmp_path / "trainings.csv").read_text().count("\n") == 25


def test_the_figure_draws_a_line_a_network_and_start_with_bars():
    points = [Point(0.1, 70, 0.5, (0.4, 0.6)), Point(1.0, 700, 0.75, None)]
    figure = study_figure([Line("one", 0, True, points), Line("other", 1, False, points)])
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "other"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10 %\n70", "100 %\n700"]
    for container in ax.containers:
        (bars,) = container.lines[2]
        ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
        assert ends == [pytest.approx([40, 60]), pytest.approx([75, 75])]
