"""The policy of glimpses: which gradients flow, and which must not."""

import math

import pytest
import torch
from tiny_captioner import captions, images, make

from vision_attn.models.gaze import STEADY, Manner
from vision_attn.models.retina import retina
from vision_attn.tape import Tape

POLICY, VALUE = "decoder.gaze.policy", "decoder.gaze.value"


def gradients(model, loss):
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return {
        name: 0.0 if gradient is None else gradient.abs().max().item()
        for name, gradient in zip(named, found, strict=True)
    }


def test_words_do_not_teach_the_policy_and_log_probabilities_do():
    model = make("glimpse").train()
    torch.manual_seed(3)
    tape = Tape()
    logits = model(images(2), captions(2, 3, 5), tape)
    of_words = gradients(model, logits.log_softmax(-1)[..., 4].sum())
    assert all(of_words[name] == 0 for name in of_words if name.startswith((POLICY, VALUE)))
    assert of_words["decoder.gaze.what.0.weight"] > 0
    of_looks = gradients(model, torch.stack(tape.log_probs).sum())
    assert all(of_looks[name] > 1e-6 for name in of_looks if name.startswith(POLICY))
    assert all(of_looks[name] == 0 for name in of_looks if name.startswith(VALUE))


def test_the_value_learns_without_moving_anything_else():
    model = make("glimpse").train()
    tape = Tape()
    model(images(2), captions(2, 3, 5), tape)
    found = gradients(model, torch.stack(tape.values).square().sum())
    assert all((found[name] > 0) == name.startswith(VALUE) for name in found)


def test_the_log_probability_is_of_the_draw_before_it_is_clamped():
    model = make("glimpse")
    gaze, sight = model.decoder.gaze, model.look_at(images(7))
    gaze.sigma = 2.0
    hidden = torch.randn(7, 5, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        steady = gaze(hidden, sight, 0, STEADY)
        seen = gaze(hidden, sight, 0, Manner(True, generator=torch.Generator().manual_seed(9)))
    noise = torch.empty(7, 5, 2).normal_(generator=torch.Generator().manual_seed(9))
    drawn = steady.centre + 2.0 * noise
    expected = -(noise**2 / 2 + math.log(2.0) + math.log(2 * math.pi) / 2).sum(-1)
    torch.testing.assert_close(seen.log_prob, expected)
    torch.testing.assert_close(seen.centre, drawn.clamp(-1, 1))
    assert (drawn.abs() > 1).any()
    assert steady.log_prob is None


def test_a_glimpse_is_what_the_retina_sees_at_its_centre():
    model, pictures = make("glimpse"), images(2)
    gaze = model.decoder.gaze
    centres = torch.tensor([[[0.1, -0.4], [0.7, 0.2], [-1.0, 1.0]]]).expand(2, -1, -1)
    sight = model.look_at(pictures)
    for query in range(3):
        expected = retina(pictures, centres[:, query], size=5, scales=2)
        torch.testing.assert_close(sight.patches(centres)[:, query], expected)
    kept = sight.keep(torch.tensor([1])).patches(centres[:1])
    torch.testing.assert_close(kept, sight.patches(centres)[1:])
    assert gaze.summary(sight).shape == (2, 8)


@pytest.mark.parametrize("kind", ["soft", "heads"])
def test_the_summary_is_the_mean_of_the_regions(kind):
    model = make(kind)
    regions, places = model.encoder(images(2))
    alignment = model.decoder.gaze.alignment
    sight = alignment.prepare(regions, places)
    values = regions if alignment.value is None else alignment.value(regions)
    torch.testing.assert_close(model.decoder.gaze.summary(sight), values.mean(1))


def test_hard_looks_take_the_peak_unless_they_draw():
    model, pictures = make("hard"), images(2)
    sight = model.look_at(pictures)
    hidden = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        seen = model.decoder.gaze(hidden, sight, 0, STEADY)
        assert torch.equal(seen.place, seen.weights.argmax(-1))
        assert seen.log_prob is None
        generator = torch.Generator().manual_seed(3)
        drawn = model.decoder.gaze(hidden, sight, 0, Manner(True, generator=generator))
    assert (drawn.place != seen.place).any()
    regions = sight.values[:, 0]
    for image in range(2):
        torch.testing.assert_close(drawn.context[image], regions[image][drawn.place[image, :, 0]])
