"""The figure of a caption: a panel a word, marks where they belong."""

import numpy as np
import pytest
import torch

from vision_attn.report.captions import ACROSS, Told, caption_figure

PICTURE = np.full((12, 16, 3), 0.5)


def told(count, **looks):
    words = [f"word{number}" for number in range(count)]
    return Told(words, torch.rand(count, 12, 16), -3.25, **looks)


@pytest.mark.parametrize("count", [1, ACROSS - 1, ACROSS, 2 * ACROSS])
def test_there_is_a_panel_for_the_image_and_each_word(count):
    figure = caption_figure(PICTURE, told(count))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["image", *(f"word{number}" for number in range(count))]
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    assert "before each word was said" in figure.texts[0].get_text()
    assert "-3.25" in figure.texts[0].get_text()


def test_hard_looks_are_marked_where_they_went():
    figure = caption_figure(PICTURE, told(2, places=torch.tensor([[[0.0, 0.0]], [[-1.0, 1.0]]])))
    marks = [axes.lines[0].get_xydata()[0].tolist() for axes in figure.axes[1:]]
    assert marks == [[7.5, 5.5], [-0.5, 11.5]]
    assert "circle" in figure.texts[0].get_text()


def test_glimpses_leave_a_trail_of_windows():
    centres = torch.tensor([[0.0, 0.0], [0.5, -0.5], [-1.0, -1.0]])
    extents = torch.tensor([[0.5, 0.5], [1.0, 1.0]]).expand(3, -1, -1)
    figure = caption_figure(PICTURE, told(3, centres=centres, extents=extents))
    for word, axes in enumerate(figure.axes[1:]):
        assert len(axes.lines[0].get_xydata()) == word + 1
        finest, coarse = axes.patches
        assert (finest.get_width(), finest.get_height()) == (4, 3)
        assert (coarse.get_width(), coarse.get_height()) == (8, 6)
    middle = figure.axes[1].patches[0]
    assert middle.get_x() + middle.get_width() / 2 == pytest.approx(7.5)
    assert middle.get_y() + middle.get_height() / 2 == pytest.approx(5.5)


def test_all_words_share_one_scale():
    maps = torch.zeros(2, 12, 16)
    maps[0, 3, 3], maps[1, 3, 3] = 1.0, 0.5
    figure = caption_figure(PICTURE, Told(["a", "b"], maps, -1.0))
    bright, dim = (axes.images[0].get_array()[3, 3].sum() for axes in figure.axes[1:])
    assert bright > dim
