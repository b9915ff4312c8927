import json
import re
import time
from dataclasses import replace

import pytest
import torch
from PIL import Image

from vision_attn.report import cost
from vision_attn.report.compare import compare, telling
from vision_attn.report.cost import Speed
from vision_attn.report.findings import findings, notes
from vision_attn.report.interval import Estimate, share
from vision_attn.report.markdown import map_rows, markdown, table
from vision_attn.report.measure import Numbers


def numbers(hits, pointing=0.9, deletion=0.2, train_seconds=30.0):
    def scores(point, removed):
        return {
            "pointing_game": Estimate(point, point - 0.05, point + 0.05, 101),
            "deletion": Estimate(removed, removed - 0.05, removed + 0.05, 101),
        }

    maps = {
        "grad_cam": scores(pointing, deletion),
        "random": scores(0.1, 0.6),
        "centre": scores(0.3, 0.5),
    }
    flat = {"grad_cam": 7, "random": 0, "centre": 0}
    speed = Speed(7.0, 6.0, 8.0)
    return Numbers(share(hits, 1000), 1234, 5_600_000, train_seconds, speed, maps, flat)


CONDITIONS = {
    "device": "cpu",
    "threads": 2,
    "seed": 0,
    "target": "the true class",
    "views": {"vit": {"image_size": [48, 48], "crop": 1.0}},
    "methods": {"grad_cam": {}, "centre": {"spread": 0.25}},
    "deletion": {"steps": 16, "fill": "mean_colour", "reads": "softmax probability"},
    "pointing_game": {"tolerance": 0.0},
    "mask_share": 0.125,
}


def test_findings_rank_by_accuracy_and_say_whether_the_lead_is_clear():
    clear = findings({"vit": numbers(900), "resnet": numbers(980)})
    assert "the ResNet is right in 98.0 % and the ViT in 90.0 %: a clear lead" in clear
    close = findings({"vit": numbers(979), "resnet": numbers(980)})
    assert "too close to call" in close


def test_findings_name_the_best_map_beside_chance():
    found = findings({"vit": numbers(900, pointing=0.875)})
    assert "Grad-CAM for the ViT (87.5 %), against 10.0 % for the random map" in found


def test_findings_give_every_network_its_own_chance_where_it_differs():
    other = numbers(900, pointing=0.5)
    other.maps["random"] = {"pointing_game": Estimate(0.07, 0.05, 0.1, 101)}
    found = findings({"vit": numbers(900), "resnet": other})
    assert "the ViT (90.0 %, against 10.0 % for the random map and 30.0 %" in found
    assert "the ResNet (50.0 %, against 7.0 % for the random map and 30.0 %" in found


def test_findings_leave_out_what_was_not_measured():
    bare = replace(numbers(900, train_seconds=None), maps={})
    assert findings({"vit": bare}) == "On 1,000 held-out images the ViT is right in 90.0 %."


def test_notes_name_maps_that_do_not_beat_a_baseline():
    assert not any("knows nothing" in note for note in notes({"vit": numbers(900)}, CONDITIONS))
    weak = {"vit": numbers(900, pointing=0.3, deletion=0.45)}
    (note,) = [x for x in notes(weak, CONDITIONS) if "knows nothing" in x]
    assert "Grad-CAM of the ViT (pointing game and deletion AUC)" in note
    half = {"vit": numbers(900, pointing=0.3)}
    (note,) = [x for x in notes(half, CONDITIONS) if "knows nothing" in x]
    assert "Grad-CAM of the ViT (pointing game)." in note


def test_notes_count_maps_that_say_nothing():
    words = "\n".join(notes({"vit": numbers(900)}, CONDITIONS))
    assert "scored as chance: 7 maps of Grad-CAM for the ViT." in words


def test_notes_carry_the_settings():
    words = "\n".join(notes({"vit": numbers(900)}, CONDITIONS))
    for setting in (
        "16 equal steps",
        "mean_colour",
        "softmax",
        "0 pixels",
        "spread=0.25",
        "12.5 %",
    ):
        assert setting in words


def test_notes_tell_views_only_where_they_differ():
    wide = {"image_size": [32, 48], "crop": 1.0}
    for other, expected in ((CONDITIONS["views"]["vit"], 0), (wide, 1)):
        views = CONDITIONS["views"] | {"resnet": other}
        words = notes({"vit": numbers(900)}, CONDITIONS | {"views": views})
        told = "training: ViT (image_size=[48, 48]); ResNet (image_size=[32, 48]). Maps"
        assert sum(told in note for note in words) == expected
        assert not any("crop" in note for note in words)


def test_the_best_map_is_bold_and_less_deletion_is_better():
    rows = map_rows({"vit": numbers(900, pointing=0.2)})
    cells = {row[1]: row[3:] for row in rows[1:]}
    assert cells["*centre*"][0] == "**0.300** (0.250-0.350)"
    assert cells["Grad-CAM"] == ["0.200 (0.150-0.250)", "**0.200** (0.150-0.250)"]
    assert rows[0][3:] == ["pointing game ↑", "deletion AUC ↓"]


def test_tables_have_as_many_cells_in_every_row():
    text = table([["a", "b"], ["c", "d"], ["e", "f"]])
    assert text == "| a | b |\n| --- | ---: |\n| c | d |\n| e | f |"


def test_a_report_shows_only_the_figures_that_were_drawn():
    text = markdown({"vit": numbers(900)}, CONDITIONS, ["maps"], command="make demo", seconds=61.2)
    assert re.findall(r"!\[.*\]\((.*)\)", text) == ["maps.png"]
    assert "`make demo`. It took 61 s." in text
    assert "the CPU (2 threads)" in text


def test_images_shown_are_the_first_right_and_the_first_wrong_ones():
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    right, wrong = torch.eye(2)[labels], torch.eye(2)[1 - labels]
    other = right.clone()
    other[[1, 4, 6]] = wrong[[1, 4, 6]]
    assert telling({"a": right, "b": other}, labels, 5) == [0, 2, 3, 1, 4]
    assert telling({"a": right}, labels, 5) == [0, 1, 2, 3, 4]
    assert telling({"a": wrong}, labels, 5) == [0, 1]


def test_compare_writes_report_figures_and_the_same_numbers(
    subjects, evidence, tmp_path, monkeypatch
):
    monkeypatch.setattr(cost, "_rate", lambda model, images, seconds: 1234.5)
    report = compare(
        subjects,
        [evidence] * 2,
        tmp_path / "demo",
        command="make demo",
        since=time.perf_counter() - 100,
    )
    text = report.read_text()
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (report.parent / name).stat().st_size < 1.5e6
        Image.open(report.parent / name).verify()
    entries = json.loads((report.parent / "report.json").read_text())
    assert 100 <= entries["seconds"] < 200
    assert list(entries["models"]) == ["vit", "resnet"]
    for model in entries["models"].values():
        assert f"{100 * model['accuracy']:.1f} %" in text
        for scores in model["maps"].values():
            assert f"{scores['deletion']:.3f}" in text
    assert entries["settings"]["deletion"]["steps"] == 16


@pytest.mark.parametrize("count", [0, 2])
def test_compare_writes_nothing_for_subjects_it_refuses(subjects, evidence, tmp_path, count):
    with pytest.raises(ValueError, match="different names"):
        compare(subjects[:1] * count, [evidence] * count, tmp_path / "demo", command="make demo")
    assert not (tmp_path / "demo").exists()
