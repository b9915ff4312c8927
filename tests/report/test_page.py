import base64
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import MISSING, browser

from vision_attn.report.export import Batch, Explained, export
from vision_attn.report.index import append, index
from vision_attn.report.looks import BUDGET, LEVELS, Looks, grouped
from vision_attn.report.page import STEPS, page, sampled
from vision_attn.spec import Spec

SPEC = Spec(image_size=(24, 32), names=("ant", "bee", "</script>"))
OUTPUTS = {"vit": torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])}


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(2, 24, 32, dtype=torch.bool)
    masks[0, 6:18, 8:24] = True
    batch = Batch(
        images=torch.rand(2, 3, 24, 32, generator=generator),
        names=["a", "b"],
        hashes=["11", "22"],
        spec=SPEC,
        labels=torch.tensor([1, 0]),
        masks=masks,
    )
    ramp = torch.linspace(2, 6, 32).expand(2, 24, 32)
    found = Explained(
        model="vit",
        model_hash="9",
        method="rollout",
        maps=ramp,
        targets=torch.tensor([1, 2]),
        scores={"deletion": torch.tensor([0.25, 0.5])},
    )
    signed = replace(found, method="input_x_gradient", maps=ramp - 4)
    levels = torch.zeros(2, 2, 3, 12, 12, dtype=torch.uint8)  # 2 layers, 3 heads, 3 x 4 patches
    levels[..., 5] = LEVELS  # everybody looks at the sixth patch
    scales = torch.ones(2, 2, 3, 12)
    sinks = torch.tensor([1.0, 0.5])
    looks = Looks((3, 4), (6, 8), levels, scales, levels[:, 0, 0], scales[:, 0, 0] / 2, sinks)
    export([found, signed], batch, tmp_path, outputs=OUTPUTS, looks={"vit": looks}, grids=False)
    return tmp_path


def unpacked(path):
    text = re.search(r'<script id="data" type="text/plain">(.*?)</script>', path.read_text())[1]
    raw = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(raw[:4], "little")
    return json.loads(raw[4 : 4 + length]), raw[4 + length :]


def test_values_on_the_page_are_those_of_the_map(folder):
    content, store = unpacked(page(folder))
    (shown, signed) = content["images"][0]["models"][0]["maps"]
    offset, length = shown["values"]
    steps = np.frombuffer(store[offset : offset + length], "<u2").reshape(shown["shape"])
    values = shown["low"] + steps / STEPS * (shown["high"] - shown["low"])
    np.testing.assert_allclose(values, np.linspace(2, 6, 32)[None].repeat(24, 0), atol=1e-4)
    assert (shown["signed"], signed["signed"]) == (False, True)
    assert shown["scores"] == {"deletion AUC": 0.25}
    assert content["images"][0]["models"][0]["answer"] == ["bee", pytest.approx(0.8)]


@pytest.fixture
def compared(folder):
    """The maps of a second model, of which every method was added in a call of its own."""
    lines = list(index(folder))
    others = [line | {"model": "resnet", "file": f"resnet {line['file']}"} for line in lines]
    for line in others:
        (folder / line["file"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / line["file"]).write_bytes((folder / line["file"].split()[1]).read_bytes())
    (folder / "index.jsonl").unlink()
    append(folder, [line for pair in zip(lines, others) for line in pair])
    return folder


def test_a_model_has_one_column_whatever_was_added_when(compared):
    content, _ = unpacked(page(compared))
    columns = [(model["name"], len(model["maps"])) for model in content["images"][0]["models"]]
    assert columns == [("ViT", 2), ("ResNet", 2)]


def test_it_is_told_how_a_class_was_chosen_that_is_not_the_answer(folder):
    first, _, signed, _ = index(folder)
    append(folder, [first | {"settings": {"target": "predicted"}, "method": "saliency"}])
    append(folder, [signed | {"settings": {"target": "label"}}])
    content, _ = unpacked(page(folder))
    maps = {x["target"] for image in content["images"] for x in image["models"][0]["maps"]}
    assert {f"{signed['target_name']} (label)", first["target_name"]} < maps


def test_large_maps_are_averaged_over_equal_tiles():
    values = np.arange(96 * 64, dtype=np.float64).reshape(96, 64)
    tiles = values.reshape(32, 3, 64, 1)[:, :, :63].reshape(32, 3, 63)
    got = sampled(values[:, :63])
    assert got.shape == (32, 21)
    np.testing.assert_allclose(got, tiles.reshape(32, 3, 21, 3).mean((1, 3)))


def test_page_needs_nothing_from_outside_and_no_name_breaks_it(folder):
    text = page(folder, heading="Ants & <bees>").read_text()
    assert "<title>Ants &amp; &lt;bees&gt;</title>" in text
    assert not re.search(
        r"""(src|href)\s*=|https?://|@import|\bfetch\(""", text.split('id="data"')[0]
    )
    assert text.count("</script>") == 2
    assert not re.search(r"\{\{\w+\}\}", text)


def test_only_the_first_images_are_shown_and_their_number_is_told(folder):
    content, _ = unpacked(page(folder, most=1))
    assert (len(content["images"]), content["total"]) == (1, 2)


def test_what_was_deleted_is_left_out(folder):
    (folder / "vit/rollout/a.npz").unlink()
    (folder / "b.npz").unlink()
    content, _ = unpacked(page(folder))
    (image,) = content["images"]
    assert content["total"] == 1
    assert [entry["method"] for entry in image["models"][0]["maps"]] == ["input x gradient"]


def test_a_folder_without_an_export_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold an export"):
        page(tmp_path)


CAPTIONS = "return [...document.querySelectorAll('figcaption')].map(x => x.innerText).join('|')"
COLOUR = """
const canvas = document.querySelectorAll('figure canvas')[{}];
return [...canvas.getContext('2d').getImageData({}, {}, 1, 1).data]"""


@pytest.mark.skipif(MISSING, reason="needs chromium and chromedriver")
def test_a_visitor_can_point_slide_and_leaf_through(folder, tmp_path):
    with browser() as visit:
        visit.open(page(folder).as_uri())
        visit.wait("return document.querySelectorAll('figure').length === 4")

        visit.hover("figure canvas", 1, across=0, down=0)  # the middle of the ramp from 2 to 6
        assert re.search(r"here (3\.9|4)\d*", visit.run(CAPTIONS))
        visit.hover("figure canvas", 1, across=80, down=0)  # further right, further up the ramp
        assert re.search(r"here 5\.\d+", visit.run(CAPTIONS))
        assert "row 2, column 2 gets 100.0 % of 100 %" in visit.run(CAPTIONS)

        assert "of one of 3 \u00d7 4 patch groups" in visit.run(CAPTIONS)
        assert "4 of 48 patches get 100 % of all" in visit.run(CAPTIONS)
        assert visit.run("return document.querySelectorAll('figcaption .wrong').length") == 1

        before = visit.run(COLOUR.format(3, 20, 20))
        visit.run(
            "const s = document.querySelector('input[name=layer]'); s.value = 2;"
            "s.dispatchEvent(new Event('input'))"
        )
        assert "all, by rollout" in visit.run(CAPTIONS)
        assert "row 2, column 2 gets 50.0 % of 50 %" in visit.run(CAPTIONS)

        visit.click("figure canvas", 1)  # holds the place
        held = visit.run(CAPTIONS)
        visit.hover("figure canvas", 1, across=-80, down=0)
        assert visit.run(CAPTIONS) == held

        visit.run(
            "const s = document.getElementById('opacity'); s.value = 0;"
            "s.dispatchEvent(new Event('input'))"
        )
        assert visit.run(COLOUR.format(1, 20, 20)) == visit.run(COLOUR.format(0, 20, 20))
        assert visit.run(COLOUR.format(3, 20, 20)) != before

        visit.press("\ue014")  # right arrow
        visit.wait("return document.getElementById('place').textContent === '2 / 2'")
        assert "✗ </script> 60.0 %" in visit.run("return document.body.innerText")
        visit.press("\ue012")  # left arrow
        visit.wait("return document.getElementById('place').textContent === '1 / 2'")

        theme = "return document.documentElement.dataset.theme"
        first = visit.run(theme)
        visit.click("#theme")
        assert {first, visit.run(theme)} == {"light", "dark"}
        visit.screenshot(tmp_path / "page.png")
        assert visit.messages() == []


@pytest.mark.skipif(MISSING, reason="needs chromium and chromedriver")
def test_two_models_stand_side_by_side(compared):
    with browser() as visit:
        visit.open(page(compared).as_uri())
        visit.wait("return document.querySelectorAll('section').length === 3")
        boxes = "[...document.querySelectorAll('section')].map(x => x.getBoundingClientRect())"
        image, first, second = visit.run(f"return {boxes}.map(x => [x.left, x.right, x.top])")
        assert image[1] < first[0]
        assert first[1] < second[0] <= 1400 - 200
        assert image[2] == first[2] == second[2]


def test_fifty_images_of_a_usual_network_make_less_than_ten_megabytes(tmp_path):
    generator = torch.Generator().manual_seed(0)
    grid = grouped((14, 14), 12 * 6, BUDGET)
    groups = grid[0] * grid[1]
    rough = torch.randn(2, 3, 56, 56, generator=generator)  # as much detail as a photograph has
    batch = Batch(
        images=torch.nn.functional.interpolate(rough, size=(224, 224), mode="bicubic") / 2,
        names=["a", "b"],
        hashes=["11", "22"],
        spec=replace(SPEC, image_size=(224, 224)),
    )
    shares = torch.randn(2, 12, 6, groups, groups, generator=generator).exp()
    levels = ((shares / shares.amax(-1, keepdim=True)).sqrt() * LEVELS).round().byte()
    scales = torch.rand(2, 12, 6, groups, generator=generator)
    looks = Looks(
        grid, (14, 14), levels, scales, levels[:, 0, 0], scales[:, 0, 0], scales[:, 0, 0, 0]
    )
    maps = torch.rand(2, 224, 224, generator=generator)
    found = [
        Explained(
            model="vit", model_hash="9", method=method, maps=maps, targets=torch.tensor([1, 2])
        )
        for method in ("grad_cam", "rollout", "relevance")
    ]
    settings = {"grids": False, "overlays": False}
    export(found, batch, tmp_path, outputs=OUTPUTS, looks={"vit": looks}, **settings)
    one, two = (page(tmp_path, most=most).stat().st_size for most in (1, 2))
    assert 49 * (two - one) + one < 10_000_000
