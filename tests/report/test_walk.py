"""Walks of a moving eye, followed and counted."""

import pytest
import torch

from vision_attn.data.batch import Labelled
from vision_attn.models.config import ResNetConfig
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.report.walk import Habits, habits, multiply_adds, walk
from vision_attn.spec import Spec
from vision_attn.tape import Tape

SPEC = Spec(image_size=(13, 17), names=("a", "b", "c"), channels=2, mean=(0, 0), std=(1, 1))
IMAGES = torch.randn(5, 2, 13, 17, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1])


def build(**settings):
    torch.manual_seed(2)
    defaults = {"glimpses": 3, "size": 5, "scales": 2, "hidden": 8, "core": "rnn"}
    return GlimpseConfig(**(defaults | settings)).build(SPEC)


def test_a_walk_is_what_the_tape_tells_in_evaluation():
    model, tape = build(), Tape()
    found = walk(model.train(), IMAGES)
    assert model.training
    model.eval()(IMAGES, tape)
    torch.testing.assert_close(found.centres, torch.stack(tape.centres, 1))
    torch.testing.assert_close(found.answers, torch.stack(tape.answers, 1).softmax(-1))
    assert found.patches.shape == (5, 3, 4, 5, 5)
    assert found.taken.tolist() == [3] * 5


def test_a_walk_ends_when_the_network_has_enough():
    model = build(stop=True)
    with torch.no_grad():
        model.enough.weight.zero_()
        model.enough.bias.fill_(-0.5)  # stops with 0.38 after each glimpse: past 1/2 after two
    assert walk(model, IMAGES).taken.tolist() == [2] * 5


def test_habits_add_up_over_batches():
    model = build(first="random")
    parts = [Labelled(IMAGES[:3], LABELS[:3]), Labelled(IMAGES[3:], LABELS[3:])]
    found, whole = habits(model, parts), walk(model, IMAGES)
    torch.testing.assert_close(found.centres, whole.centres)
    assert found.hits.tolist() == (whole.answers.argmax(-1) == LABELS[:, None]).sum(0).tolist()
    edge = [(place.abs() >= 0.95).any() for walk in whole.centres for place in walk[1:]]
    assert found.border == pytest.approx(sum(edge) / len(edge))


def test_places_after_the_network_had_enough_are_not_visited():
    centres = torch.zeros(3, 3, 2)
    centres[:2, 1, 0], centres[0, 2, 1] = 1.0, -1.0
    found = Habits(centres, torch.zeros(3), torch.tensor([2, 3, 1]))
    assert found.borders.tolist() == [0, 1, 0]
    assert found.border == pytest.approx(2 / 3)
    assert Habits(centres[:, :1], torch.zeros(1), torch.ones(3)).border == 0


def test_multiply_adds_are_those_of_the_matrices():
    model = build()
    sensor = 2 * 2 * 25 * 4 + 4 * 8 + 2 * 4 + 4 * 8
    core, head = 2 * 8 * 8, 8 * 3
    chosen = 8 * 2  # a place by the policy
    once = sensor + core + head
    assert multiply_adds(model, IMAGES) == [once, 2 * once + chosen, 3 * once + 2 * chosen]


def test_a_network_without_glimpses_has_one_price_and_no_walk():
    network = ResNetConfig(depths=(1,) * 4, channels=(2,) * 4, stem="small").build(SPEC)
    assert len(multiply_adds(network, IMAGES)) == 1
    with pytest.raises(ValueError, match="needs a network that takes glimpses"):
        walk(network, IMAGES)
