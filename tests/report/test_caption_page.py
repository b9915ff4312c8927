import base64
import json
import re
import zlib

import numpy as np
import pytest
import torch
from browser import MISSING, browser

from vision_attn.report.caption_page import Shown, caption_page
from vision_attn.report.captions import Told

WORDS = ["a", "<b>", "star"]


@pytest.fixture
def images():
    """Two images: looks at the left, the right and the left again, and one with hard looks."""
    picture = np.full((24, 32, 3), 0.5)
    maps = torch.zeros(3, 24, 32)
    maps[[0, 2], :, :16], maps[1, :, 16:] = 1.0, 0.5
    told = Told(WORDS, maps, -1.5)
    places = torch.tensor([[[-0.5, 0.0]], [[0.5, 0.5]], [[-0.5, 0.0]]])
    return [
        Shown("one", picture, [told, told._replace(log_prob=-2.5, ended=False)]),
        Shown("two", picture, [told._replace(places=places)]),
    ]


@pytest.fixture
def glimpses():
    centres = torch.tensor([[0.0, 0.0], [0.5, -0.5], [1.0, 1.0]])
    extents = torch.tensor([[[0.5, 0.5], [1.0, 1.0]]]).expand(3, 2, 2)
    maps = torch.zeros(3, 24, 24)
    told = Told(WORDS, maps, -1.0, centres=centres, extents=extents)
    return [Shown("eye", np.full((24, 24, 3), 0.5), [told])]


def unpacked(path):
    text = re.search(r'<script id="data" type="text/plain">(.*?)</script>', path.read_text())[1]
    raw = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(raw[:4], "little")
    return json.loads(raw[4 : 4 + length]), raw[4 + length :]


def test_maps_on_the_page_share_one_scale(images, tmp_path):
    content, store = unpacked(caption_page(images, tmp_path, total=5))
    assert content["total"] == 5
    own = content["images"][0]["captions"][0]
    assert own["words"] == WORDS
    offset, length = own["values"]
    levels = np.frombuffer(store[offset : offset + length], np.uint8).reshape(3, *own["shape"])
    assert own["shape"] == [24, 32]
    assert levels[:, 0, 0].tolist() == [255, 0, 255]
    assert levels[:, 0, -1].tolist() == [0, 128, 0]
    assert content["images"][1]["captions"][0]["places"][1] == [[0.75, 0.75]]


def test_windows_of_glimpses_are_shares_of_the_image(glimpses, tmp_path):
    path = caption_page(glimpses, tmp_path, total=1)
    (own,) = unpacked(path)[0]["images"][0]["captions"]
    assert own["windows"][1] == [[0.75, 0.25], [0.25, 0.25], [0.5, 0.5]]
    assert "Boxes are what the glimpse covers" in path.read_text()


def test_page_needs_nothing_from_outside(images, tmp_path):
    text = caption_page(images, tmp_path, total=2, heading="Ants & <bees>").read_text()
    assert "<title>Ants &amp; &lt;bees&gt;</title>" in text
    assert not re.search(
        r"""(src|href)\s*=|https?://|@import|\bfetch\(""", text.split('id="data"')[0]
    )
    assert text.count("</script>") == 2
    assert not re.search(r"\{\{\w+\}\}", text)


RED = """const canvas = document.querySelector('canvas');
return canvas.getContext('2d').getImageData(x, y, 1, 1).data[0]"""
LINE = "return document.querySelector('figcaption div').textContent"


@pytest.mark.skipif(MISSING, reason="needs chromium and chromedriver")
def test_a_word_shows_where_was_looked_for_it(images, glimpses, tmp_path):
    def red(x, y):
        return opened.run(RED.replace("x, y", f"{x}, {y}", 1))

    with browser() as opened:
        opened.open(caption_page(images, tmp_path, total=2).as_uri())
        opened.wait("return document.querySelectorAll('p.caption span').length === 6")
        assert red(60, 100) == red(400, 100)
        opened.hover("p.caption span", 0)
        assert opened.run(LINE) == 'before "a"'
        assert red(60, 100) > red(400, 100) + 50
        opened.hover("p.caption span", 1)
        assert opened.run(LINE) == 'before "<b>"'
        assert red(60, 100) < red(400, 100) - 20
        opened.hover("h1")
        assert opened.run(LINE) == ""
        assert red(60, 100) == red(400, 100)
        opened.click("p.caption span", 1)
        opened.hover("h1")
        assert opened.run(LINE) == 'before "<b>"'
        opened.press("\ue014")
        opened.wait("return document.querySelector('figcaption b').textContent === 'two'")
        opened.hover("p.caption span", 1)
        opened.screenshot(tmp_path / "places.png")
        opened.open(caption_page(glimpses, tmp_path, total=1).as_uri())
        opened.wait("return document.querySelectorAll('p.caption span').length === 3")
        before = red(336, 56)
        opened.hover("p.caption span", 1)
        assert red(336, 56) > before  # the way ends in the middle of the window
        assert not opened.messages()
