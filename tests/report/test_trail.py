"""Trails: boxes where the eye was, what it saw, and an animation of it."""

import numpy as np
import torch
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from vision_attn.report.trail import PACE, save_animation, trail, trail_figure, trail_frames
from vision_attn.report.walk import Walk
from vision_attn.spec import Spec

SPEC = Spec(image_size=(20, 40), names=("ant", "bee"), channels=1, mean=(0,), std=(1,))


CENTRES = [[0.0, 0.0], [0.5, -0.5], [-1.0, 1.0]]


def make(taken=3, centres=CENTRES):
    draw = torch.Generator().manual_seed(1)
    answers = torch.tensor([[[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]])
    patches = torch.rand(1, 3, 2, 4, 4, generator=draw)
    walk = Walk(
        torch.tensor([centres]), torch.full((1, 3, 2), 0.4), patches, answers, torch.tensor([taken])
    )
    image = torch.rand(1, 1, 20, 40, generator=draw)
    return trail(image, walk, SPEC, label=1, growth=3.0), walk


def boxes(figure):
    """Give (left, top, width, height) of the boxes over the image, frames of axes left out."""
    found = [box for ax in _axes(figure)[:1] for box in ax.patches if isinstance(box, Rectangle)]
    return [(*box.get_xy(), box.get_width(), box.get_height()) for box in found]


def _axes(figure):
    return [ax for part in figure.subfigs for ax in part.axes]


def test_a_trail_has_a_box_for_every_glimpse_and_the_wide_one_of_the_last():
    found, _ = make()
    expected = [
        (15.5, 7.5, 8.0, 4.0),  # the middle of 40 x 20 pixels is at (19.5, 9.5)
        (25.5, 2.5, 8.0, 4.0),
        (-4.5, 17.5, 8.0, 4.0),
        (-12.5, 13.5, 24.0, 12.0),
    ]
    np.testing.assert_allclose(boxes(trail_figure(found)), expected, atol=1e-5)


def test_a_trail_shows_every_scale_of_every_glimpse_and_the_answers():
    found, walk = make()
    figure = trail_figure(found)
    image, *panels = _axes(figure)
    assert len(panels) == 6
    for number, panel in enumerate(panels):
        scale, step = divmod(number, 3)
        shown = panel.images[0].get_array()[..., 0]
        np.testing.assert_allclose(shown, walk.patches[0, step, scale], atol=1e-6)
    words = [text.get_text() for text in figure.findobj(Text)]
    assert {"1\nant 60 %", "2\nbee 70 %", "3\nbee 90 %", "label: bee"} <= set(words)
    assert image.images[0].get_array().shape == (20, 40, 3)


def test_places_that_nearly_agree_share_a_mark_that_names_their_glimpses():
    def marks(centres):
        image = _axes(trail_figure(make(centres=centres)[0]))[0]
        return [(text.get_text(), *text.xy) for text in image.texts]

    apart = [("1", 19.5, 9.5), ("2", 29.5, 4.5), ("3", -0.5, 19.5)]
    assert marks(CENTRES) == apart
    assert marks([[0.0, 0.0], [0.5, -0.5], [0.05, 0.1]]) == [("1,3", 19.5, 9.5), apart[1]]


def test_a_trail_ends_when_the_network_has_enough():
    found, _ = make(taken=2)
    assert len(boxes(trail_figure(found))) == 3
    assert len(trail_frames(found)) == 2


def test_an_animation_has_a_frame_a_glimpse_and_repeats(tmp_path):
    frames = trail_frames(make()[0])
    assert len({frame.tobytes() for frame in frames}) == 3
    save_animation(frames, tmp_path / "trail.gif")
    with Image.open(tmp_path / "trail.gif") as gif:
        assert gif.n_frames == 3
        assert gif.info["loop"] == 0
        assert gif.size == frames[0].shape[1::-1]
        durations = []
        for number in range(3):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert durations == [PACE, PACE, 3 * PACE]
