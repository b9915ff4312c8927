"""The policy of glimpses: which gradients flow, and which must not."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_captioner import EYE, captions, images, make

from vision_attn.attention.window import Places
from vision_attn.models.caption_config import LSTMDecoderConfig
from vision_attn.models.gaze import STEADY, Manner, RegionGaze
from vision_attn.models.patch_encoder import patch_encoder
from vision_attn.models.retina import retina
from vision_attn.tape import Tape

MIDDLES = [[x, y] for y in (-2 / 3, 0.0, 2 / 3) for x in (-2 / 3, 0.0, 2 / 3)]
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
    gaze.policy.sigma = 2.0
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


def test_words_teach_the_choice_of_cells_where_the_expected_value_stands_in():
    model = make("cells").train()
    for share in (0.0, 1.0):
        torch.manual_seed(3)
        tape = Tape()
        logits = model(images(2), captions(2, 3, 5), tape, expected_share=share)
        found = gradients(model, logits.log_softmax(-1)[..., 4].sum())
        assert all((found[name] > 0) == (share == 1) for name in found if name.startswith(POLICY))
        drawn = torch.stack(tape.log_probs)
        assert (drawn == 0).all() if share else (drawn < 0).all()
        if not share:
            found = gradients(model, drawn.sum())
            assert all(found[name] > 1e-6 for name in found if name.startswith(POLICY))


def test_a_place_is_one_cell_of_a_grid_over_the_image():
    model, pictures = make("cells"), images(4)
    gaze, sight = model.decoder.gaze, model.look_at(pictures)
    hidden = torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        weights = gaze.policy.alignment(hidden, sight.outline, 0)[:, 0]
        steady = gaze(hidden, sight, 0, STEADY)
        drawn = gaze(hidden, sight, 0, Manner(True, generator=generator))
        glimpses = [gaze._glimpse(sight, seen.centre) for seen in (steady, drawn)]
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 9))
    for image in range(4):
        for query in range(9):
            shares = weights[image, query]
            likeliest = torch.tensor(MIDDLES[shares.argmax()])
            torch.testing.assert_close(steady.centre[image, query], likeliest)
            away = (torch.tensor(MIDDLES) - drawn.centre[image, query]).abs().sum(1)
            assert away.min() < 1e-6
            taken = shares[away.argmin()].log()
            torch.testing.assert_close(drawn.log_prob[image, query], taken)
    assert (drawn.centre != steady.centre).any()
    for seen, glimpse in zip((steady, drawn), glimpses, strict=True):
        torch.testing.assert_close(seen.context, glimpse)
    assert steady.log_prob is None


def test_cells_are_glimpsed_once_for_all_words_and_captions():
    model, seen = make("cells").train(), []
    model.decoder.gaze.what.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    model(images(2), captions(2, 3, 5))
    assert seen == [2, 2 * 9]  # at first the middle of each image


def test_the_outline_stays_with_its_images():
    model, pictures, which = make("cells"), images(5), torch.tensor([1, 4])
    hidden = 3 * torch.randn(5, 7, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        model.decoder.gaze.policy.periphery[2].weight *= 20
        sight = model.look_at(pictures)
        together = model.decoder.gaze(hidden, sight, 0, STEADY)
        kept = model.decoder.gaze(hidden[which], sight.keep(which), 0, STEADY)
        exchanged = model.decoder.gaze(hidden[which], sight.keep(which.flip(0)), 0, STEADY)
    torch.testing.assert_close(kept.centre, together.centre[which])
    torch.testing.assert_close(kept.context, together.context[which])
    assert (exchanged.centre != kept.centre).any()


def test_a_patch_is_halved_by_strides_or_by_the_largest():
    patches = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(3))
    for pool in (False, True):
        torch.manual_seed(5)
        network = patch_encoder(7, 3, (5,), 11, pool=pool)
        convolution, linear = network[0], network[-1]
        filtered = F.conv2d(patches, convolution.weight, convolution.bias, padding=1).relu()
        halved = filtered[..., ::2, ::2]
        if pool:
            halved = F.max_pool2d(F.pad(filtered, (0, 1, 0, 1)), 2)
        torch.testing.assert_close(network(patches), linear(halved.flatten(1)))
    eye = replace(EYE, downsample="max")
    assert isinstance(make("cells", encoder=eye).decoder.gaze.what[2], torch.nn.MaxPool2d)


def test_expected_values_are_means_over_what_all_cells_show():
    model, pictures = make("cells"), images(3)
    gaze, sight = model.decoder.gaze, model.look_at(pictures)
    hidden = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(3))
    expected = torch.tensor([True, False, True])
    draws = [
        Manner(True, expected=which, generator=torch.Generator().manual_seed(9))
        for which in (expected, None)
    ]
    with torch.no_grad():
        seen, drawn = (gaze(hidden, model.look_at(pictures), 0, manner) for manner in draws)
        weights = gaze.policy.alignment(hidden, sight.outline, 0)[:, 0]
        shown = torch.stack(
            [gaze._glimpse(sight, torch.tensor(at).expand(3, 1, 2))[:, 0] for at in MIDDLES], 1
        )
    torch.testing.assert_close(seen.context[1], drawn.context[1])
    torch.testing.assert_close(seen.log_prob[1], drawn.log_prob[1])
    for image in (0, 2):
        torch.testing.assert_close(seen.context[image], weights[image] @ shown[image])
        assert (seen.log_prob[image] == 0).all()
    assert torch.equal(seen.centre, drawn.centre)


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


def test_hard_looks_through_a_window_expect_the_mean_of_their_draws():
    torch.manual_seed(3)
    config = LSTMDecoderConfig(dim=8, look="hard", window="predictive", reach=1)
    gaze = RegionGaze(config, 15)
    sight = gaze.alignment.prepare(torch.randn(1, 15, 8), Places((3, 5)))
    hidden, count = torch.randn(1, 1, 8), 4000
    weights = gaze.alignment(hidden, sight, 0)[0, 0, 0]
    assert 0.1 < weights.sum() < 0.9
    seen = gaze(hidden, sight, 0, Manner(draws=True, expected=torch.tensor([True])))
    draws = Manner(draws=True, generator=torch.Generator().manual_seed(9))
    drawn = gaze(hidden.expand(1, count, 8), sight, 0, draws).context[0]
    error = drawn.std(0) / count**0.5
    assert ((drawn.mean(0) - seen.context[0, 0]).abs() < 4 * error).all()
