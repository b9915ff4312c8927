import io
from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from vision_attn.report.figures import (
    Bar,
    Curve,
    colour,
    learning_curves,
    score_figure,
    title,
)
from vision_attn.report.grid import WIDEST, Panel, Rows, grid
from vision_attn.report.interval import Estimate
from vision_attn.spec import Spec


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def rendered(figure):
    file = io.BytesIO()
    figure.savefig(file)
    return file.getvalue()


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(2, 16, 12, dtype=torch.bool)
    masks[0, 3:9, 2:7] = True  # the second image has no object
    spec = Spec(image_size=(16, 12), names=("ant", "bee", "cat"))
    images = torch.randn(2, 3, 16, 12, generator=generator)
    return Rows(images, spec, torch.tensor([2, 0]), masks)


def test_curves_are_drawn_in_percent_and_named_with_their_ends():
    curves = [Curve("vit", [5, 7], [1.0, 3.0], [0.25, 0.5]), Curve("mine", [5], [2.0], [0.75])]
    figure = learning_curves(curves)
    seconds, steps = figure.axes
    np.testing.assert_array_equal(seconds.lines[0].get_xydata(), [[1, 25], [3, 50]])
    np.testing.assert_array_equal(steps.lines[0].get_xydata(), [[5, 25], [7, 50]])
    assert {"ViT, 3 s", "mine, 2 s"} <= set(texts(seconds))
    assert {"ViT, 50.0 %", "mine, 75.0 %"} <= set(texts(steps))


def test_a_run_without_evaluations_keeps_its_colour():
    figure = learning_curves([Curve("a", [], [], []), Curve("b", [1], [1.0], [0.5])])
    assert figure.axes[0].lines[0].get_color() == colour(1)


def test_names_never_lie_on_each_other():
    alike = [Curve(name, [1, 2], [1.0, 2.0], [0.9, 0.9]) for name in "abc"]
    figure = learning_curves(alike)
    rendered(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for ax in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in ax.texts]
        assert len(boxes) == 3
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_scores_are_drawn_with_their_intervals():
    bars = [
        Bar("vit", "rollout", {"energy": Estimate(0.5, 0.4, 0.7, 11)}),
        Bar("vit", "random", {"energy": Estimate(0.2, 0.1, 0.3, 11)}),
    ]
    (ax,) = score_figure(bars).axes
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0.4, 0.7])
    np.testing.assert_array_equal(ax.lines[3].get_xdata(), [0.2])
    assert ax.lines[3].get_markerfacecolor() == "white"  # a baseline is a ring
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ViT · rollout", "ViT · random"]


def test_titles_are_those_of_the_literature():
    assert title("grad_cam") == "Grad-CAM"
    assert title("gradient_rollout") == "gradient rollout"


def test_grid_says_what_was_true_and_what_was_answered(rows):
    maps = torch.rand(2, 16, 12, generator=torch.Generator().manual_seed(1))
    panels = [Panel("vit", "rollout", maps), Panel("resnet", "grad_cam", maps)]
    outputs = {
        "vit": torch.tensor([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1]]),
        "resnet": torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]]),
    }
    figure = grid(rows, panels, outputs)
    words = texts(figure)
    assert {"cat", "ant", "ViT", "ResNet", "rollout", "Grad-CAM"} <= set(words)
    assert {"✓ cat  80 %", "✗ bee  70 %", "✗ ant  50 %", "✓ ant  90 %"} <= set(words)
    assert len(figure.axes) == 2 * 3 + 1  # two images, three columns, the legend
    assert len({round(ax.get_position().height, 9) for ax in figure.axes[:-1]}) == 1
    rendered(figure)


def test_a_model_of_another_view_has_its_own_picture_under_its_maps_and_masks(rows):
    own = Rows(torch.ones(2, 3, 7, 5), replace(rows.spec, mean=(0.25,) * 3, std=(0.5,) * 3))
    own = own._replace(masks=torch.ones(2, 7, 5, dtype=torch.bool))
    panels = [
        Panel("a", "rollout", torch.zeros(2, 16, 12)),
        Panel("b", "image", None, own=own),
        Panel("b", "rollout", torch.zeros(2, 7, 5), own=own),
    ]
    figure = grid(rows, panels, dict.fromkeys("ab", torch.eye(3)[:2]))
    pictures = [ax.images[0].get_array() for ax in figure.axes[:-1]]
    assert [picture.shape[:2] for picture in pictures] == [(16, 12)] * 4 + [(7, 5)] * 4
    np.testing.assert_allclose(pictures[4], np.full((7, 5, 3), 0.75), rtol=1e-6)
    bare = (1 - 0.65) * 0.75 + 0.65 * np.array(matplotlib.colormaps["inferno"](0.0)[:3])
    np.testing.assert_allclose(pictures[6], np.broadcast_to(bare, (7, 5, 3)), atol=0.002)
    outlined = [bool(ax.lines) for ax in figure.axes[:-1]]
    assert outlined == [False, False, True, False, False, False, True, True]


def test_grid_refuses_panels_of_a_model_that_stand_apart(rows):
    panels = [Panel(name, "rollout", torch.zeros(2, 16, 12)) for name in ("a", "b", "a")]
    with pytest.raises(ValueError, match="neighbours"):
        grid(rows, panels, {})


def test_many_panels_take_several_lines_that_do_not_touch(rows):
    maps = torch.rand(2, 16, 12, generator=torch.Generator().manual_seed(1))
    panels = [Panel("vit", f"method {n}", maps) for n in range(WIDEST + 1)]
    panels += [Panel("resnet", "grad_cam", maps)]
    figure = grid(rows, panels, {"vit": torch.eye(3)[:2], "resnet": torch.eye(3)[:2]})
    counts = [WIDEST, 1, 1]
    assert len(figure.axes) == sum(2 * (1 + count) for count in counts) + 1
    assert texts(figure).count("image") == texts(figure).count("✗ bee  100 %") == 3
    places = [ax.get_position() for ax in figure.axes]
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1 for box in places)
    assert not any(a.overlaps(b) for a, b in combinations(places, 2))
    rendered(figure)


@pytest.mark.parametrize("count", [1, 2])
def test_long_names_stay_inside_the_page_and_off_each_other(rows, count):
    name = "vit small patch14 reg4 dinov2 random weights"
    maps = torch.rand(2, 16, 12, generator=torch.Generator().manual_seed(1))
    panels = [Panel(f"{name} {n}", "grad_cam", maps) for n in range(count)]
    figure = grid(rows, panels, {panel.model: torch.eye(3)[:2] for panel in panels})
    rendered(figure)
    heads = [text for text in figure.texts if "dinov2" in text.get_text()]
    boxes = [text.get_window_extent() for text in heads]
    assert len(boxes) == count
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_map_of_zeros_shows_the_picture_and_no_colour(rows):
    panels = [Panel("vit", "relevance", torch.zeros(2, 16, 12))]
    figure = grid(rows._replace(masks=None), panels, {"vit": torch.eye(3)[:2]})
    shown = figure.axes[2].images[0].get_array()
    assert np.ptp(shown, axis=-1).max() < 0.02  # grey under the darkest colour
    assert texts(figure).count("says nothing") == 2


def test_the_mask_is_outlined_where_there_is_one(rows):
    panels = [Panel("vit", "relevance", torch.rand(2, 16, 12))]
    figure = grid(rows, panels, {"vit": torch.eye(3)[:2]})
    assert [len(ax.lines) for ax in figure.axes[2:4]] == [1, 0]


def test_figures_leave_pyplot_and_its_settings_alone():
    before = dict(matplotlib.rcParams)
    figure = learning_curves([Curve("a", [1], [1.0], [0.5])])
    rendered(figure)
    assert dict(matplotlib.rcParams) == before
    assert type(figure.canvas).__name__ == "FigureCanvasBase"  # pyplot would have given its own
