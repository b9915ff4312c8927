import json

import pytest

from vision_attn.engine.run import Run
from vision_attn.report.captioners import Measured, compare_captioners
from vision_attn.spec import Spec

SPEC = Spec(image_size=(24, 24), names=("<pad>", "<start>", "<end>", "<unknown>", "a"))
NUMBERS = {
    "images": 4,
    "bleu1": 0.5,
    "bleu4": 0.25,
    "meteor_exact_stem": 0.3,
    "rouge_l": 0.4,
    "cider_d": 1.5,
    "exact": 0.75,
    "distinct_captions": 0.5,
    "words_used": 0.2,
    "constant_cider_d": 0.125,
    "human_cider_d": 0.875,
}
LOOKS = {"phrases": 6, "pointing": 0.9, "mass_in_box": 0.8, "pointing_size": 0.7}


def measured(folder, name, seed=0, data=None, **changes):
    recipe = {
        "run": str(folder / name),
        "seed": seed,
        "data": data or {"name": "scene_captions", "workers": seed},
        "model": {"decoder": name[:4]},
        "task": {"name": "captioning", "beams": 1},
    }
    run = Run.create(folder / name, recipe, SPEC)
    run.log(5, seconds=12.0)
    return Measured(run, NUMBERS | changes)


def rows(report):
    table = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("|")]
    return {row[0]: row for row in table}


def test_runs_that_differ_by_seed_are_one_row(tmp_path):
    runs = [
        measured(tmp_path, "soft0", seed=0, cider_d=1.5, **LOOKS),
        measured(tmp_path, "soft1", seed=1, cider_d=1.0, **(LOOKS | {"pointing": 0.8})),
        measured(tmp_path, "hard0", **LOOKS),
    ]
    report = compare_captioners(runs, tmp_path / "out", split="test", command="again").read_text()
    language, truth, words = (
        report.split("## Whether")[0],
        *report.split("## Whether")[1].split("Word by word"),
    )
    found = rows(language)
    assert found["soft0"][1:3] == ["2", "12 (12-12)"]
    assert found["soft0"][7] == "125.0 (100.0-150.0)"
    assert found["hard0"][7] == "150.0"
    assert found["*one caption for all*"][7] == "12.5"
    assert "*nearest by colour*" not in found
    assert rows(truth)["soft0"][1:3] == ["12", "0.850 (0.800-0.900)"]
    assert rows(words)["soft0"][2] == "0.700"
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["runs"]["soft1"]["cider_d"] == 1.0


def test_captions_of_photographs_have_no_looks_to_score(tmp_path):
    report = compare_captioners(
        [measured(tmp_path, "soft0")], tmp_path, split="valid", command="again"
    )
    assert "On 4 images of the valid split" in report.read_text()
    assert "## Whether" not in report.read_text()


def test_runs_measured_otherwise_are_refused(tmp_path):
    other = {"name": "scene_captions", "seed": 3}
    runs = [measured(tmp_path, "soft0"), measured(tmp_path, "soft1", data=other)]
    with pytest.raises(ValueError, match=r"differ in data\.seed"):
        compare_captioners(runs, tmp_path / "out", split="test", command="again")
