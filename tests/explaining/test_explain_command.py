"""The explain command as a user meets it: what is written, left out, resumed and refused."""

import gc
import json
import os
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import draw, write_run

from vision_attn.__main__ import main
from vision_attn.data.config import ScenesConfig
from vision_attn.explain.methods import METHODS
from vision_attn.explaining import explain as command
from vision_attn.explaining.explain import explain
from vision_attn.models.resnet import ResNet
from vision_attn.report import export as exporting
from vision_attn.report.index import index
from vision_attn.trained import load_model


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def lines(folder):
    return {line["file"]: line for line in index(folder)}


def test_every_good_file_is_explained_and_every_bad_one_listed(runs, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["explain", str(runs["vit"]), str(pictures), "--out", str(out)]
    assert main([*arguments, "--batch-size", "2", "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out == f"3 images explained, 1 had been before\nreport: {out}/report.html\n"
    assert said.err == f"3 files left out, listed in {out}/problems.jsonl\n"
    problems = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert {problem["path"].rpartition("/")[2]: problem["reason"][:8] for problem in problems} == {
        "cut.jpg": "damaged:",
        "empty.png": "empty fi",
        "notes.txt": "not an i",
    }
    (other,) = {line["image"] for line in index(out)} - {"a", "wide"}
    assert other == f"a-{lines(out)[f'vit/rollout/{other}.npz']['image_hash']}"
    expected = {"index.jsonl", "scores.csv", "problems.jsonl", "report.html"}
    for name in ("a", "wide", other):
        expected |= {f"{name}.npz", f"{name}.png"}
        for method in ("grad_cam", "rollout", "relevance"):
            expected |= {f"vit/{method}/{name}.npz", f"vit/{method}/{name}.png"}
    assert files(out) == expected


def test_maps_are_those_of_the_method_for_the_answer_of_the_network(runs, recipe, tmp_path):
    explain(str(runs["vit"]), [str(recipe)], tmp_path, batch_size=2, formats=[], device="cpu")
    model, spec = load_model(runs["vit"])
    test = ScenesConfig(image_size=24, train=7, valid=5, test=5).build().test
    images, _ = test.__getitems__([(0, index) for index in range(5)])
    answers = model(images).argmax(-1)
    expected = METHODS["relevance"](model, images, answers)
    for place in range(5):
        with np.load(tmp_path / f"vit/relevance/test-{place:05d}.npz") as file:
            np.testing.assert_allclose(file["map"], expected[place].numpy(), rtol=1e-3, atol=1e-6)
            about = json.loads(str(file["about"]))
        assert about["target_name"] == spec.names[answers[place]]
        assert about["tokens"] == [6, 6]
        assert about["model_hash"] == next(index(tmp_path))["model_hash"]
        assert about["settings"]["target"] == "predicted"
    assert not [name for name in files(tmp_path) if name.endswith((".png", ".html"))]


def test_finished_images_are_left_alone_whatever_they_are_called(runs, pictures, tmp_path):
    out = tmp_path / "out"
    first = explain(str(runs["resnet"]), [str(pictures)], out, device="cpu", formats=[])
    before = {name: (out / name).stat().st_mtime_ns for name in files(out) if "npz" in name}
    (pictures / "a.jpg").rename(pictures / "renamed.jpg")
    draw(pictures / "new.png", seed=9)
    second = explain(str(runs["resnet"]), [str(pictures)], out, device="cpu", formats=["page"])
    assert (first.explained, first.finished) == (3, 1)
    assert (second.explained, second.finished) == (1, 4)
    after = {name: (out / name).stat().st_mtime_ns for name in files(out) if "npz" in name}
    assert before.items() < after.items()
    assert {"new.npz", "resnet/grad_cam/new.npz"} == after.keys() - before.keys()


@pytest.mark.parametrize("lost", ["resnet/grad_cam/test-00003.npz", "test-00003.npz"])
def test_what_was_deleted_is_made_again(runs, recipe, tmp_path, lost):
    settings = {"device": "cpu", "formats": ["page"]}
    explain(str(runs["resnet"]), [str(recipe)], tmp_path, **settings)
    before = files(tmp_path)
    (tmp_path / lost).unlink()
    outcome = explain(str(runs["resnet"]), [str(recipe)], tmp_path, **settings)
    assert (outcome.explained, outcome.finished) == (1, 4)
    assert files(tmp_path) == before


def test_other_methods_and_classes_are_added_to_a_folder(runs, recipe, tmp_path):
    settings = {"device": "cpu", "formats": []}
    explain(str(runs["vit"]), [str(recipe)], tmp_path, **settings)
    explain(str(runs["vit"]), [str(recipe)], tmp_path, targets=["label", "0"], **settings)
    folders = {name.rpartition("/")[0] for name in files(tmp_path) if name.startswith("vit")}
    assert folders == {
        "vit/grad_cam",
        "vit/grad_cam/label",
        "vit/grad_cam/class0",
        "vit/relevance",
        "vit/relevance/label",
        "vit/relevance/class0",
        "vit/rollout",
    }
    again = explain(str(runs["vit"]), [str(recipe)], tmp_path, targets=["label"], **settings)
    assert (again.explained, again.finished) == (0, 5)


def test_a_grid_shows_what_was_added_beside_what_was_there(runs, recipe, tmp_path, monkeypatch):
    drawn, grid = [], exporting.grid

    def watched(rows, panels, outputs):
        drawn.append(list(panels))
        return grid(rows, panels, outputs)

    monkeypatch.setattr(exporting, "grid", watched)
    settings = {"device": "cpu", "formats": ["grids"], "limit": 1}
    vit, sources = str(runs["vit"]), [str(recipe)]
    explain(vit, sources, tmp_path, methods=["rollout", "saliency"], **settings)
    explain(vit, sources, tmp_path, methods=["grad_cam"], targets=["0"], **settings)
    explain(vit, sources, tmp_path, methods=["saliency", "relevance"], **settings)
    shown = [[(panel.method, panel.part) for panel in panels] for panels in drawn]
    before = [("rollout", ""), ("saliency", "")]
    assert shown[0] == before
    assert shown[1] == [*before, ("grad_cam", "class0")]
    assert shown[2] == [before[0], ("grad_cam", "class0"), before[1], ("relevance", "")]
    first = {panel.method: panel.maps for panel in drawn[0]}
    kept = {panel.method: panel.maps for panel in drawn[2]}
    torch.testing.assert_close(kept["rollout"], first["rollout"].cpu(), rtol=0, atol=0)


def test_a_call_that_was_cut_short_goes_on_where_it_stopped(runs, recipe, tmp_path, monkeypatch):
    written, calls = command.write, []

    def killed(columns, batch, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append([seen.name for seen in batch])
        written(columns, batch, *rest)

    monkeypatch.setattr(command, "write", killed)
    settings = {"device": "cpu", "batch_size": 2, "formats": ["page"]}
    with pytest.raises(KeyboardInterrupt):
        explain(str(runs["resnet"]), [str(recipe)], tmp_path, **settings)
    with (tmp_path / "index.jsonl").open("a") as file:
        file.write('{"image": "cut sho')
    monkeypatch.setattr(command, "write", written)
    outcome = explain(str(runs["resnet"]), [str(recipe)], tmp_path, **settings)
    assert (outcome.explained, outcome.finished) == (1, 4)
    assert len(lines(tmp_path)) == 5


def test_two_networks_stand_side_by_side(runs, recipe, tmp_path, capsys):
    arguments = ["explain", str(runs["vit"]), str(recipe), "--against", str(runs["resnet"])]
    arguments += ["--methods", "grad_cam,relevance", "--targets", "predicted,label"]
    assert main([*arguments, "--top-k", "2", "--limit", "2", "--out", str(tmp_path)]) == 0
    assert "relevance is undefined for resnet: relevance needs" in capsys.readouterr().err
    assert "<title>Where vit and resnet look</title>" in (tmp_path / "report.html").read_text()
    models = {(x["model"], x["method"]) for x in index(tmp_path)}
    assert models == {("vit", "grad_cam"), ("vit", "relevance"), ("resnet", "grad_cam")}
    assert {x["settings"]["target"] for x in index(tmp_path)} == {
        "predicted",
        "predicted 2",
        "label",
    }
    with Image.open(tmp_path / "test-00000.png") as grid:
        assert grid.width > 2 * grid.height


def test_more_classes_cost_no_more_forward_passes(runs, recipe, tmp_path, monkeypatch):
    passes, plain = [], ResNet.forward
    monkeypatch.setattr(ResNet, "forward", lambda *a, **k: passes.append(1) or plain(*a, **k))
    settings = {"methods": ["grad_cam", "layer_cam"], "formats": [], "limit": 2, "device": "cpu"}
    explain(str(runs["resnet"]), [str(recipe)], tmp_path / "one", **settings)
    one, passes[:] = len(passes), []
    explain(str(runs["resnet"]), [str(recipe)], tmp_path / "three", top_k=3, **settings)
    assert len(passes) == one
    made = {name: len([*index(tmp_path / name)]) for name in ("one", "three")}
    assert made["three"] == 3 * made["one"]


def test_untrained_networks_say_so_in_every_output(pictures, tmp_path, capsys):
    arguments = ["explain", "timm:test_resnet", str(pictures / "wide.png"), "--out", str(tmp_path)]
    assert main([*arguments, "--random-weights"]) == 0
    (line,) = index(tmp_path)
    assert line["model"] == "test_resnet_random_weights"
    assert line["settings"]["weights"] == "random"
    assert "test_resnet_random_weights" in (tmp_path / "scores.csv").read_text()
    assert "Where test_resnet_random_weights looks<" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "test_resnet_random_weights/grad_cam/wide.png").exists()


def test_a_folder_of_another_networks_maps_is_not_written_over(runs, recipe, tmp_path, capsys):
    retrained = write_run(tmp_path / "vit", "vit", seed=12)
    out = tmp_path / "out"
    explain(str(runs["vit"]), [str(recipe)], out, formats=[], device="cpu", limit=1)
    before = files(out)
    assert main(["explain", str(retrained), str(recipe), "--out", str(out)]) == 2
    assert "holds maps of other networks or weights (vit); give another" in capsys.readouterr().err
    assert files(out) == before


def test_networks_of_one_name_do_not_change_places(runs, recipe, tmp_path, capsys):
    twin = write_run(tmp_path / "vit", "vit", seed=12)
    settings = ["--out", str(tmp_path / "out"), "--limit", "1", "--formats", ""]
    both = [str(recipe), "--methods", "rollout", "--against"]
    assert main(["explain", str(runs["vit"]), *both, str(twin), *settings]) == 0
    assert main(["explain", str(runs["vit"]), *both, str(twin), *settings]) == 0
    before = files(tmp_path)
    assert main(["explain", str(twin), *both, str(runs["vit"]), *settings]) == 2
    assert "maps of other networks or weights (vit, vit_2)" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_file_is_no_folder_to_write_to(runs, pictures, capsys):
    arguments = ["explain", str(runs["vit"]), str(pictures)]
    assert main([*arguments, "--out", str(pictures / "notes.txt")]) == 2
    assert "--out must be a folder, got the file" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_a_problem(runs, pictures, tmp_path):
    (pictures / "a.jpg").rename(pictures / os.fsdecode(b"\xff.jpg"))
    out = tmp_path / "out"
    outcome = explain(str(runs["resnet"]), [str(pictures)], out, device="cpu", formats=["page"])
    assert (outcome.explained, outcome.finished) == (3, 0)
    problems = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert [x["reason"] for x in problems].count("its name is not UTF-8; rename it") == 1
    assert main(["predict", str(runs["resnet"]), str(pictures), "--out", str(out / "a.csv")]) == 0
    assert len((out / "a.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formats", "pages"], "--formats: there is no pages; did you mean page?"),
        (["--targets", "label,stat"], "got stat; did you mean star?"),
        (["--methods", "rolout"], "--methods: there is no rolout; did you mean rollout?"),
    ],
)
def test_wrong_options_leave_nothing_behind(runs, recipe, tmp_path, capsys, arguments, message):
    arguments = [
        "explain",
        str(runs["vit"]),
        str(recipe),
        "--out",
        str(tmp_path / "out"),
        *arguments,
    ]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_if_no_image_can_be_used_the_reasons_are_told(runs, pictures, tmp_path, capsys):
    arguments = ["explain", str(runs["vit"]), str(pictures / "notes.txt")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"none of 1 images could be used; the first are\n"
        f"  {pictures / 'notes.txt'}: not an image, or in an unknown format\n"
    )


def test_memory_does_not_grow_with_the_number_of_images(runs, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for place in range(500):
        pixels = generator.integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{place:03d}.bmp")
    peaks, tensors, written = [], [], command.write

    def watched(*arguments):
        written(*arguments)
        peaks.append(tracemalloc.get_traced_memory()[1])
        if len(peaks) in (5, 25):
            tensors.append(sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects()))
        tracemalloc.reset_peak()

    monkeypatch.setattr(command, "write", watched)
    settings = {"batch_size": 20, "formats": [], "device": "cpu"}
    tracemalloc.start()
    try:
        outcome = explain(
            str(runs["resnet"]), [str(tmp_path / "*.bmp")], tmp_path / "out", **settings
        )
    finally:
        tracemalloc.stop()
    assert outcome.explained == 500
    assert tensors[0] == tensors[1]
    # What stays in mind of an image is its name and fingerprint: less than a kilobyte.
    assert max(peaks[-3:]) - max(peaks[4:7]) < 18 * 20 * 1024
