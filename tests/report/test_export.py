import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vision_attn.report import digest
from vision_attn.report import export as exporting
from vision_attn.report.export import Batch, Explained, export
from vision_attn.report.index import finished, index, kind, write_scores
from vision_attn.spec import Spec

SPEC = Spec(image_size=(12, 16), names=("ant", "bee", "cat"))
OUTPUTS = {"vit": torch.eye(3)[[1, 2]]}


@pytest.fixture
def batch():
    images = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    return Batch(images=images, names=["a", "b"], hashes=["11", "22"], spec=SPEC)


@pytest.fixture
def explained():
    maps = torch.rand(2, 12, 16, generator=torch.Generator().manual_seed(1))
    maps[1] = 0
    return Explained(
        model="vit",
        model_hash="99",
        method="rollout",
        maps=maps,
        targets=torch.tensor([1, 2]),
        settings={"residual": 0.5},
        tokens=(3, 4),
        scores={"deletion": torch.tensor([0.25, 0.125])},
    )


def test_raw_maps_come_back_with_all_that_is_known_of_them(batch, explained, tmp_path):
    lines = export([explained], batch, tmp_path, outputs=OUTPUTS)
    with np.load(tmp_path / "vit/rollout/a.npz") as file:
        np.testing.assert_array_equal(file["map"], explained.maps[0])
        about = json.loads(str(file["about"]))
    assert about == {
        "image": "a",
        "image_hash": "11",
        "model": "vit",
        "model_hash": "99",
        "method": "rollout",
        "target": 1,
        "target_name": "bee",
        "settings": {"residual": 0.5},
        "tokens": [3, 4],
        "file": "vit/rollout/a.npz",
        "flat": False,
        "scores": {"deletion": 0.25},
    }
    assert [line["flat"] for line in lines] == [False, True]
    assert next(index(tmp_path)) == about


def test_overlays_are_large_enough_to_see_and_keep_their_shape(batch, explained, tmp_path):
    export([explained], batch, tmp_path, outputs=OUTPUTS)
    with Image.open(tmp_path / "vit/rollout/a.png") as picture:
        assert picture.size == (16 * 19, 12 * 19)
    with Image.open(tmp_path / "vit/rollout/b.png") as picture:
        colours = np.asarray(picture)
    assert np.ptp(colours.astype(int), axis=-1).max() <= 3  # an all-zero map adds no colour
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height


def test_a_batch_gives_the_files_of_its_images_one_by_one(batch, explained, tmp_path):
    export([explained], batch, tmp_path / "both", outputs=OUTPUTS, grids=False)
    for place, name in enumerate(batch.names):
        here = slice(place, place + 1)
        one = replace(explained, maps=explained.maps[here], targets=explained.targets[here])
        alone = replace(batch, images=batch.images[here], names=[name], hashes=["0"])
        export([one], alone, tmp_path / "single", outputs=OUTPUTS, grids=False)
        both, single = (tmp_path / x / f"vit/rollout/{name}.png" for x in ("both", "single"))
        assert both.read_bytes() == single.read_bytes()
    assert not (tmp_path / "both/a.png").exists()


KNOWN = {"model_hash": "99", "method": "rollout", "settings": {"residual": 0.5}}


def test_finished_images_are_known_by_content_and_settings(batch, explained, tmp_path):
    assert finished(tmp_path, [kind(**KNOWN)]) == set()
    export([explained], batch, tmp_path, outputs=OUTPUTS, grids=False)
    assert finished(tmp_path, [kind(**KNOWN)]) == {"11", "22"}
    others = [kind(**KNOWN), kind(**KNOWN | {"method": "grad_cam"})]
    assert finished(tmp_path, others) == set()
    assert finished(tmp_path, [kind(**KNOWN | {"settings": {"residual": 0.3}})]) == set()
    one = replace(explained, method="grad_cam", maps=explained.maps[1:], targets=torch.tensor([1]))
    part = replace(batch, images=batch.images[1:], names=["b"], hashes=["22"], labels=None)
    export([replace(one, scores={})], part, tmp_path, outputs=OUTPUTS, grids=False)
    assert finished(tmp_path, others) == {"22"}
    assert finished(tmp_path, others[:1]) == {"11", "22"}


def test_a_line_cut_short_is_forgotten_and_replaced(batch, explained, tmp_path):
    export([explained], batch, tmp_path, outputs=OUTPUTS, grids=False)
    path = tmp_path / "index.jsonl"
    path.write_text(path.read_text()[:-5])
    assert finished(tmp_path, [kind(**KNOWN)]) == {"11"}
    export([explained], batch, tmp_path, outputs=OUTPUTS, grids=False)
    assert [line["image"] for line in index(tmp_path)] == ["a", "a", "b"]


def test_scores_have_a_row_a_map_and_blanks_where_unmeasured(batch, explained, tmp_path):
    other = replace(explained, method="grad_cam", scores={})
    export([explained, other], batch, tmp_path, outputs=OUTPUTS, grids=False)
    export([explained], batch, tmp_path, outputs=OUTPUTS, grids=False)
    with write_scores(tmp_path).open() as file:
        rows = list(csv.DictReader(file))
    assert {row["settings"] for row in rows} == {'{"residual": 0.5}'}
    assert [(row["image"], row["method"], row["deletion"]) for row in rows] == [
        ("a", "rollout", "0.25"),
        ("b", "rollout", "0.125"),
        ("a", "grad_cam", ""),
        ("b", "grad_cam", ""),
    ]


def test_scores_that_are_undefined_are_left_out(batch, explained, tmp_path):
    found = replace(explained, scores={"max_sensitivity": torch.tensor([0.5, torch.nan])})
    lines = export([found], batch, tmp_path, outputs=OUTPUTS, grids=False, overlays=False)
    assert [line["scores"] for line in lines] == [{"max_sensitivity": 0.5}, {}]


@pytest.mark.parametrize("names", [["a", "a"], ["a"], ["a", "x/b"], ["a", ""]])
def test_names_that_would_collide_or_escape_are_refused(batch, explained, tmp_path, names):
    with pytest.raises(ValueError, match="plain file names"):
        export([explained], replace(batch, names=names), tmp_path / "out", outputs=OUTPUTS)
    assert not (tmp_path / "out").exists()


def test_signed_maps_are_drawn_diverging(batch, explained, tmp_path):
    signed = replace(explained, method="input_x_gradient", maps=torch.zeros(2, 12, 16))
    export([signed], batch, tmp_path, outputs=OUTPUTS, grids=False)
    with Image.open(tmp_path / "vit/input_x_gradient/a.png") as picture:
        assert np.asarray(picture).min() > 150  # zero is white


def test_fingerprints_change_with_weights_names_and_content():
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    assert digest.of_model(model) == digest.of_model(other)
    with torch.no_grad():
        other.bias[0] += 1e-6
    assert digest.of_model(model) != digest.of_model(other)
    assert digest.of_model(nn.BatchNorm1d(2).bfloat16()) != digest.of_model(nn.BatchNorm1d(2))
    assert digest.of_bytes(b"a") == "ca978112ca1bbdca"


@pytest.fixture
def drawn(monkeypatch):
    """Panels of every grid that is drawn, by method and part."""
    panels = []
    grid = exporting.grid

    def watched(rows, shown, outputs):
        panels.append([(panel.method, panel.part) for panel in shown])
        return grid(rows, shown, outputs)

    monkeypatch.setattr(exporting, "grid", watched)
    return panels


def test_grids_show_what_earlier_calls_found_and_these_do_not_replace(
    batch, explained, tmp_path, drawn
):
    export([explained], batch, tmp_path, outputs=OUTPUTS)
    own = replace(explained, method="my_own")
    export([own, replace(explained, part="class2")], batch, tmp_path, outputs=OUTPUTS)
    first = replace(explained, method="attention")
    export([first, own], batch, tmp_path, outputs=OUTPUTS)
    assert drawn[0] == drawn[1] == [("rollout", "")]
    assert drawn[2] == [("rollout", ""), ("my_own", ""), ("rollout", "class2")]
    assert drawn[4] == [("rollout", ""), ("rollout", "class2"), ("attention", ""), ("my_own", "")]


@pytest.mark.parametrize(
    "other",
    [
        {"model_hash": "98"},
        {"settings": {"image": "cropped to half"}},
        {"model": "another"},
    ],
)
def test_maps_of_another_picture_or_network_are_not_drawn_beside(
    batch, explained, tmp_path, drawn, other
):
    outputs = OUTPUTS | {"another": OUTPUTS["vit"]}
    export([replace(explained, **other)], batch, tmp_path, outputs=outputs)
    export([replace(explained, method="relevance")], batch, tmp_path, outputs=outputs)
    assert drawn[2:] == [[("relevance", "")]] * 2


def test_maps_of_other_content_or_size_are_not_drawn_beside(batch, explained, tmp_path, drawn):
    export([explained], batch, tmp_path, outputs=OUTPUTS)
    renamed = replace(batch, hashes=["11", "33"])
    export([replace(explained, method="relevance")], renamed, tmp_path, outputs=OUTPUTS)
    assert drawn[2:] == [[("rollout", ""), ("relevance", "")], [("relevance", "")]]
    larger = replace(explained, method="cam", maps=torch.rand(2, 24, 32))
    images = torch.rand(2, 3, 24, 32)
    export([larger], replace(batch, images=images), tmp_path, outputs=OUTPUTS)
    assert drawn[4:] == [[("cam", "")]] * 2


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_an_earlier_map_that_cannot_be_read_is_named_before_anything_is_written(
    batch, explained, tmp_path, content
):
    path = tmp_path / "vit" / "cam" / "a.npz"
    path.parent.mkdir(parents=True)
    if content is None:
        np.savez(path, map=np.zeros((12, 16)))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cam/a.npz must be a map of an earlier call.*move it"):
        export([explained], batch, tmp_path, outputs=OUTPUTS)
    assert not (tmp_path / "vit" / "rollout").exists()
    export([explained], batch, tmp_path, outputs=OUTPUTS, grids=False)
    assert len([*index(tmp_path)]) == 2
