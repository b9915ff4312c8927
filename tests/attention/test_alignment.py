"""Scores, windows and heads put together; hidden and dropped images change nothing for others."""

import pytest
import torch

from vision_attn.attention.alignment import Alignment, build_score
from vision_attn.attention.score import Score
from vision_attn.attention.window import Everywhere, Monotonic, Places, Predictive

NAMES = ("cosine", "additive", "location", "general", "dot", "scaled_dot")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("window", [Everywhere(), Monotonic(1), Predictive(6, 1)])
def test_every_score_goes_with_every_window(name, heads, window):
    torch.manual_seed(3)
    alignment = Alignment(name, window, 6, 6, heads=heads, places=15)
    memory = alignment.prepare(torch.randn(2, 15, 6), Places((3, 5)))
    weights = alignment(torch.randn(2, 4, 6), memory, 1)
    assert weights.shape == (2, heads, 4, 15)
    assert memory.values.shape == (2, heads, 15, 6 // heads)
    total = weights.sum(-1)
    if isinstance(window, Predictive):
        assert ((total > 0) & (total < 1)).all()
    else:
        torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("heads", [1, 2])
def test_images_that_are_kept_give_what_they_gave(heads, name, learning):
    torch.manual_seed(3)
    alignment = Alignment(name, Predictive(6, 2), 6, 6, heads=heads, places=15)
    query, kept = torch.randn(4, 7, 6), torch.tensor([3, 1])
    with torch.set_grad_enabled(learning):
        memory = alignment.prepare(torch.randn(4, 15, 6), Places((3, 5)))
        torch.testing.assert_close(
            alignment(query[kept], memory.keep(kept), 0), alignment(query, memory, 0)[kept]
        )


def test_one_head_is_the_score_itself():
    torch.manual_seed(3)
    alignment = Alignment("general", Everywhere(), 6, 11, places=15)
    assert isinstance(alignment.score, Score)
    query, keys = torch.randn(2, 3, 6), torch.randn(2, 15, 11)
    weights = alignment(query, alignment.prepare(keys, Places((3, 5))), 0)
    torch.testing.assert_close(weights[:, 0], alignment.score(query, keys).softmax(-1))


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_found_by_name(name):
    score = build_score(name, 6, 6, places=15)
    assert type(score).__name__.lower() == name.replace("_", "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("heads", [1, 2])
def test_autocast_converts_what_is_seen_once_and_not_for_every_word(name, heads):
    torch.manual_seed(3)
    alignment = Alignment(name, Everywhere(), 6, 6, heads=heads, places=15)
    keys = torch.randn(2, 15, 6)
    with torch.autocast("cpu", torch.bfloat16):
        memory = alignment.prepare(keys, Places((3, 5)))
    assert memory.prepared.keys.dtype == memory.values.dtype == torch.bfloat16
    wide = alignment.prepare(keys, Places((3, 5)))
    assert wide.prepared.keys.dtype == wide.values.dtype == torch.float32
    torch.testing.assert_close(memory.values.to(wide.values), wide.values, atol=0.05, rtol=0.01)
