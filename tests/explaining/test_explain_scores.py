"""Scores of the explain command: those of the metrics, in a table, by masks or by boxes."""

import csv
import json

import numpy as np
import pytest
from tiny_runs import draw

from vision_attn.__main__ import main
from vision_attn.data.config import ScenesConfig
from vision_attn.explain.localisation import pointing_game
from vision_attn.explain.methods import BASELINES, CHECKS, METHODS, METRICS
from vision_attn.explaining.explain import explain
from vision_attn.report.index import index
from vision_attn.trained import load_model


def test_scores_are_those_of_the_metrics_with_a_table(runs, recipe, tmp_path):
    scores = ["deletion", "pointing_game"]
    settings = {"targets": ["label"], "methods": ["saliency"], "formats": [], "device": "cpu"}
    explain(str(runs["resnet"]), [str(recipe)], tmp_path, scores=scores, **settings)
    model, _ = load_model(runs["resnet"])
    test = ScenesConfig(image_size=24, train=7, valid=5, test=5).build().test
    images, labels = test.__getitems__([(0, index) for index in range(5)])
    maps = METHODS["saliency"](model, images, labels)
    expected = {
        "deletion": METRICS["deletion"](model, images, labels, maps),
        "pointing_game": pointing_game(maps, test.masks(list(range(5)))),
    }
    with (tmp_path / "scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "saliency"]
    for name, values in expected.items():
        assert [float(row[name]) for row in rows] == pytest.approx(values.tolist(), abs=1e-4)
    table = (tmp_path / "scores.md").read_text().splitlines()
    assert [row.split(" | ")[1] for row in table[2:5]] == ["saliency", "*random*", "*centre*"]
    assert f"| 5 | {expected['deletion'].mean():.3f} (" in table[2].replace("**", "")


def test_checks_explain_again_by_the_method_that_made_the_map(runs, recipe, tmp_path):
    settings = {"targets": ["label"], "methods": ["saliency"], "formats": [], "device": "cpu"}
    explain(str(runs["resnet"]), [str(recipe)], tmp_path, scores=[*CHECKS], limit=2, **settings)
    model, _ = load_model(runs["resnet"])
    test = ScenesConfig(image_size=24, train=7, valid=5, test=5).build().test
    images, labels = test.__getitems__([(0, 0), (0, 1)])
    for method in ("saliency", "centre"):
        explainer = (METHODS | BASELINES)[method]
        maps = explainer(model, images, labels)
        lines_of = [line for line in index(tmp_path) if line["method"] == method]
        for name, check in CHECKS.items():
            expected = check(model, images, labels, maps, explainer=explainer)
            found = [line["scores"][name] for line in lines_of]
            assert found == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)
    assert [line["scores"] for line in lines_of] == 2 * [
        {"max_sensitivity": 0, "randomisation": pytest.approx(1)}
    ]


def test_boxes_of_the_users_photographs_score_maps(runs, tmp_path):
    for place, name in enumerate(("a", "b", "c")):
        draw(tmp_path / f"{name}.png", place, size=(24, 24))
    found = {"images": [], "annotations": []}
    for number, (name, box) in enumerate(
        {"a.png": [0, 0, 24, 24], "b.png": [0, 0, 12, 24]}.items()
    ):
        found["images"].append({"id": number, "file_name": name, "height": 24, "width": 24})
        found["annotations"].append({"image_id": number, "bbox": box})
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    arguments = [
        "explain",
        str(runs["vit"]),
        str(tmp_path / "*.png"),
        "--out",
        str(tmp_path / "out"),
    ]
    arguments += ["--masks", str(tmp_path / "boxes.json"), "--scores", "energy_in_mask"]
    assert main([*arguments, "--methods", "rollout", "--formats", ""]) == 0
    shares = {x["image"]: x["scores"]["energy_in_mask"] for x in index(tmp_path / "out")}
    assert shares["a"] == pytest.approx(1)
    assert 0 < shares["b"] < 1
    (problem,) = (tmp_path / "out" / "problems.jsonl").read_text().splitlines()
    assert "boxes.json lists no object in it" in problem
    with np.load(tmp_path / "out" / "b.npz") as file:
        assert file["mask"][:, :12].all()
        assert not file["mask"][:, 12:].any()


@pytest.mark.parametrize("renamed", [False, True])
def test_what_was_deleted_and_made_again_keeps_its_row_of_scores(runs, pictures, tmp_path, renamed):
    out, sources = tmp_path / "out", [str(pictures / name) for name in ("*.jpg", "wide.png")]
    settings = {"device": "cpu", "formats": [], "methods": ["grad_cam"], "scores": ["deletion"]}
    explain(str(runs["resnet"]), sources, out, **settings)
    before = scored(out)
    (out / "resnet/grad_cam/a.npz").unlink()
    if renamed:
        (pictures / "a.jpg").rename(pictures / "other.jpg")
        (pictures / "copy.jpg").unlink()
    assert explain(str(runs["resnet"]), sources, out, **settings).explained == 1
    assert scored(out) == before
    (out / "resnet/grad_cam/a.npz").unlink()
    explain(str(runs["resnet"]), sources[1:], out, **settings)
    assert scored(out) == [row for row in before if row != ("a", "resnet", "grad_cam")]


def scored(out):
    with (out / "scores.csv").open() as file:
        return [(row["image"], row["model"], row["method"]) for row in csv.DictReader(file)]
