"""Decoders: words at once as step by step, captions together as alone, nothing looks ahead."""

from dataclasses import replace

import pytest
import torch
from tiny_captioner import DECODERS, NAMES, captions, images, make

from vision_attn.models.decoders import preceding
from vision_attn.models.gaze import STEADY, Manner
from vision_attn.tape import Tape

ALL = pytest.mark.parametrize("kind", DECODERS)


@ALL
def test_all_words_at_once_as_step_by_step(kind):
    model, pictures, words = make(kind), images(2), captions(2, 3, 6)
    tape = Tape()
    with torch.no_grad():
        at_once = model(pictures, words, tape)
        sight = model.look_at(pictures)
        state = model.decoder.begin(sight, 3)
        for number, before in enumerate(preceding(words).unbind(2)):
            step = model.decoder.step(before, state, sight, number, STEADY)
            state = step.state
            torch.testing.assert_close(step.logits, at_once[:, :, number], atol=1e-5, rtol=1e-4)
            if tape.looks:
                taped = torch.cat(tape.looks, 1)[:, :, number].unflatten(0, (2, 3))
                torch.testing.assert_close(step.seen.weights, taped, atol=1e-5, rtol=1e-4)
            else:
                taped = tape.centres[number].unflatten(0, (2, 3))
                torch.testing.assert_close(step.seen.centre, taped, atol=1e-5, rtol=1e-4)


@ALL
def test_an_image_is_encoded_once_for_captions_that_know_nothing_of_each_other(kind):
    model, pictures, words = make(kind), images(2), captions(2, 3, 5)
    with torch.no_grad():
        together = model(pictures, words)
        for caption in range(3):
            alone = model(pictures, words[:, caption : caption + 1])
            torch.testing.assert_close(alone[:, 0], together[:, caption], atol=1e-5, rtol=1e-4)
    calls = []
    if model.encoder is not None:
        model.encoder.network.register_forward_pre_hook(lambda *_: calls.append(1))
        seen = []
        model.encoder.network.conv1.register_forward_hook(lambda m, i, o: seen.append(len(o)))
        model(pictures, words)
        assert seen == [2]


@ALL
def test_what_follows_a_word_changes_nothing_before_it(kind):
    model, pictures, words = make(kind), images(2), captions(2, 3, 5)
    other = torch.cat([words[..., :3], torch.zeros_like(words)], 2)
    with torch.no_grad():
        full, cut = model(pictures, words), model(pictures, other)
    # A word sees those before it, so number 3 is the last one that the two captions share.
    torch.testing.assert_close(full[:, :, :4], cut[:, :, :4], atol=1e-5, rtol=1e-4)
    assert (full[:, :, 4] - cut[:, :, 4]).abs().max() > 1e-4


def test_the_word_before_the_first_is_the_start():
    words = torch.tensor([[[5, 6, 2], [7, 2, 0]]])
    assert preceding(words).tolist() == [[[1, 5, 6], [1, 7, 2]]]


def test_the_lstm_is_that_of_show_attend_and_tell():
    """Equations 1 to 9 of the paper, one caption and one word at a time, in float64."""
    model = make("xu").double()
    picture, words = images(1).double(), captions(1, 1, 5)
    d, state = model.decoder, model.decoder.state_dict()

    def linear(name, x):
        return state[f"{name}.weight"] @ x + state.get(f"{name}.bias", 0.0)

    with torch.no_grad():
        found = model(picture, words)[0, 0]
        regions, _ = model.encoder(picture)
        a = list(regions[0])
        hidden, cell = linear("start", sum(a) / len(a)).tanh().chunk(2)
        before = state["embed.weight"][1]
        for number, word in enumerate(words[0, 0].tolist()):
            energies = [
                state["gaze.alignment.score.compared.weight"][0]
                @ (
                    linear("gaze.alignment.score.query", hidden)
                    + linear("gaze.alignment.score.key", region)
                ).tanh()
                for region in a
            ]
            total = sum(e.exp() for e in energies)
            seen = sum(e.exp() / total * region for e, region in zip(energies, a, strict=True))
            seen = linear("gate", hidden).sigmoid() * seen
            gates = linear("word", before) + linear("recurrent", torch.cat([seen, hidden]))
            enter, forget, content, leave = gates.split(8)
            cell = forget.sigmoid() * cell + enter.sigmoid() * content.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            deep = before + linear("from_hidden", hidden) + linear("from_seen", seen)
            torch.testing.assert_close(found[number], linear("head", deep))
            before = state["embed.weight"][word]
    assert d.head.out_features == len(NAMES)


@pytest.mark.parametrize("kind", ["soft", "hard", "gumbel"])
def test_with_own_words_only_the_given_ones_do_not_matter(kind):
    model, pictures = make(kind, sharp=5.0), images(2)
    found = []
    for seed in (1, 2):
        torch.manual_seed(17)
        found.append(model(pictures, captions(2, 3, 5, seed=seed), own_words=1.0))
    torch.testing.assert_close(*found)
    torch.manual_seed(18)
    assert (model(pictures, captions(2, 3, 5), own_words=1.0) - found[0]).abs().max() > 1e-3


def test_a_transformer_takes_own_words_from_a_first_pass():
    model, pictures, words = make("transformer", sharp=5.0), images(2), captions(2, 3, 5)
    given = []
    model.decoder.embed.register_forward_pre_hook(lambda m, inputs: given.append(inputs[0]))
    torch.manual_seed(17)
    model(pictures, words, own_words=0.5)
    first, second = given
    assert torch.equal(first, preceding(words))
    replaced = first != second
    assert 0 < replaced.float().mean() < 0.6
    assert not replaced[..., 0].any()
    assert not (second < 2)[..., 1:].any()


def test_hard_looks_are_recorded_with_their_log_probability():
    model, pictures, words = make("hard").train(), images(3), captions(3, 2, 5)
    torch.manual_seed(11)
    tape = Tape()
    model(pictures, words, tape)
    (weights,) = tape.looks
    assert weights.shape == (6, 1, 5, 15)
    assert len(tape.log_probs) == 5
    for number, log_prob in enumerate(tape.log_probs):
        distance = (weights[:, 0, number].log() - log_prob[:, None]).abs().amin(1)
        assert distance.max() < 1e-5


def test_an_expected_value_stands_in_for_all_words_of_an_image():
    model = make("hard").train()
    pictures, words = images(40), captions(40, 2, 3)
    sight = model.look_at(pictures)
    torch.manual_seed(11)
    expected = torch.rand(40) < 0.5
    tape = Tape()
    logits = model.decoder(words, sight, tape, Manner(True, expected=expected))
    model.decoder.gaze.kind = "soft"
    soft = model.decoder(words, sight)
    torch.testing.assert_close(logits[expected], soft[expected])
    assert (logits[~expected] - soft[~expected]).abs().amax((1, 2, 3)).min() > 1e-4
    drawn = torch.stack(tape.log_probs, 1).unflatten(0, (40, 2))
    assert (drawn[expected] == 0).all()
    assert (drawn[~expected] < 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_coin_is_flipped_for_every_image(share):
    model = make("hard").train()
    torch.manual_seed(13)
    tape = Tape()
    model(images(200, size=(4, 12)), captions(200, 2, 2), tape, expected_share=share)
    stood_in = torch.stack(tape.log_probs, 1).unflatten(0, (200, 2)) == 0
    assert (stood_in == stood_in[:, :1, :1]).all()
    assert abs(stood_in.float().mean() - share) <= 4 * (share * (1 - share) / 200) ** 0.5


@pytest.mark.parametrize(("kind", "knows"), [("soft", True), ("xu", False)])
def test_a_look_knows_the_last_word_if_it_is_read_first(kind, knows):
    model, pictures, words = make(kind), images(2), captions(2, 3, 5)
    other = words.clone()
    other[..., 1] = 4 + (words[..., 1] - 3) % (len(NAMES) - 4)
    tapes = Tape(), Tape()
    with torch.no_grad():
        for tape, text in zip(tapes, (words, other), strict=True):
            model(pictures, text, tape)
    changed = [
        (a - b).abs().amax((0, 1, 3)) for a, b in zip(*(t.looks for t in tapes), strict=True)
    ]
    first = min(torch.cat(changed).gt(1e-6).nonzero()).item()
    # Look 2 is for the word after number 1.
    assert first == (2 if knows else 3)


def fed(kind, probability):
    """Build a captioner whose decoder alone is in training."""
    decoder = replace(DECODERS[kind], feed_dropout=probability)
    model = make(kind, decoder=decoder)
    model.decoder.train()
    return model


@pytest.mark.parametrize("kind", ["soft", "xu", "glimpse"])
def test_an_lstm_that_is_never_told_what_was_seen_only_says_it(kind):
    untold, deaf = fed(kind, 1 - 1e-9), make(kind)
    with torch.no_grad():
        deaf.decoder.recurrent.weight[:, :8] = 0
        words = captions(2, 3, 6)
        told = make(kind)(images(2), words)
        torch.testing.assert_close(untold(images(2), words), deaf(images(2), words))
        torch.testing.assert_close(untold.eval()(images(2), words), told)
    assert (deaf(images(2), words) - told).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["soft", "xu", "glimpse"])
def test_whether_an_lstm_is_told_is_drawn_for_every_word_of_every_caption(kind):
    model = fed(kind, 0.5)
    words = captions(1, 1, 4).expand(1, 64, 4)
    logits = model(images(1), words)[0]
    ways = [logits[:, word].round(decimals=4).unique(dim=0) for word in range(4)]
    first = 0 if kind in ("xu", "glimpse") else 1
    assert [len(way) for way in ways][: first + 3] == ([1] * first + [2, 4, 8])[:4]
    # The first word that can differ is told twice as much, or nothing.
    for factor in (0, 2):
        other = make(kind)
        with torch.no_grad():
            other.decoder.recurrent.weight[:, :8] *= factor
            wanted = other(images(1), words[:, :1])[0, 0, first]
        assert torch.isclose(ways[first], wanted, atol=1e-3).all(1).any()
