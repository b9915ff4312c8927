"""Beam search against all captions there are; batched as one by one; stopping early as late."""

import itertools

import pytest
import torch
from tiny_captioner import DECODERS, NAMES, images, make

from vision_attn.language.vocabulary import END, PAD, START, UNKNOWN
from vision_attn.models import generate
from vision_attn.models.decoders import Step
from vision_attn.models.gaze import Seen
from vision_attn.models.generate import Shelf, beam_search
from vision_attn.models.wording import FORBIDDEN
from vision_attn.tape import Tape

WORDS = [word for word in range(len(NAMES)) if word not in FORBIDDEN]
ALL = pytest.mark.parametrize("kind", DECODERS)


def scored(model, picture, caption):
    """Sum a caption's log-probabilities with all its words given at once."""
    with torch.no_grad():
        logits = model(picture, torch.tensor([[caption]]))
    return logits[0, 0].log_softmax(-1).gather(1, torch.tensor(caption)[:, None]).sum().item()


def every_caption(model, picture, longest):
    """Score every caption that ends within `longest` words."""
    found = {}
    plain = [word for word in WORDS if word != END]
    for length in range(longest):
        bodies = torch.tensor(list(itertools.product(plain, repeat=length)), dtype=torch.long)
        captions = torch.cat([bodies, torch.full((len(bodies), 1), END)], 1)
        with torch.no_grad():
            log_probs = model(picture, captions[None]).log_softmax(-1)
        totals = log_probs[0].gather(2, captions[..., None])[..., 0].sum(1)
        found |= dict(zip(map(tuple, captions.tolist()), totals.tolist(), strict=True))
    return found


@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("kind", ["soft", "transformer"])
def test_a_wide_beam_finds_the_best_of_all_captions(kind, penalty):
    model, picture = make(kind, sharp=4.0), images(1)
    all_captions = every_caption(model, picture, 4)

    def score(caption):
        return all_captions[caption] / ((5 + len(caption)) / 6) ** penalty

    expected = sorted(all_captions, key=score, reverse=True)[:20]
    wide = beam_search(model, picture, beams=8**3, best=20, longest=4, penalty=penalty)
    assert [caption.words for caption in wide[0]] == expected
    for caption in wide[0]:
        assert caption.ended
        assert caption.log_prob == pytest.approx(all_captions[caption.words], abs=1e-4)
        assert caption.score == pytest.approx(score(caption.words), abs=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 2.0])
@pytest.mark.parametrize("kind", ["soft", "transformer"])
def test_where_nothing_ends_a_wide_beam_finds_the_best_cut_captions(kind, penalty):
    model, picture = make(kind, sharp=4.0), images(1)
    with torch.no_grad():
        model.decoder.head.bias[END] = -torch.inf
    plain = [word for word in WORDS if word != END]
    captions = list(itertools.product(plain, repeat=3))
    with torch.no_grad():
        log_probs = model(picture, torch.tensor([captions])).log_softmax(-1)[0]
    totals = log_probs.gather(2, torch.tensor(captions)[..., None])[..., 0].sum(1).tolist()
    ranked = sorted(zip(totals, captions, strict=True), reverse=True)[:20]
    wide = beam_search(model, picture, beams=8**2, best=20, longest=3, penalty=penalty)[0]
    assert [caption.words for caption in wide] == [caption for _, caption in ranked]
    for caption, (total, _) in zip(wide, ranked, strict=True):
        assert not caption.ended
        assert caption.log_prob == pytest.approx(total, abs=1e-4)
        assert caption.score == pytest.approx(total / (8 / 6) ** penalty, abs=1e-4)


@pytest.mark.parametrize("beams", [1, 3, 11, 37])
def test_beams_spread_to_the_best_pairs_of_beam_and_word(beams):
    torch.manual_seed(3)
    totals, log_probs = torch.randn(5, 3), torch.randn(5, 3, 7).log_softmax(-1)
    totals[0, 1], totals[2], log_probs[:, :, 4] = -torch.inf, -torch.inf, -torch.inf
    found, parents, words = generate.spread(totals, log_probs, beams)
    pairs = totals.unsqueeze(2) + log_probs
    torch.testing.assert_close(found, pairs.flatten(1).sort(descending=True)[0][:, :beams])
    torch.testing.assert_close(found, pairs[torch.arange(5).unsqueeze(1), parents, words])
    assert all(
        len(set(zip(*x, strict=True))) == len(x[0])
        for x in zip(parents.tolist(), words.tolist(), strict=True)
    )


@ALL
@pytest.mark.parametrize("beams", [1, 3])
def test_all_images_at_once_as_one_by_one(kind, beams):
    model, pictures = make(kind, sharp=6.0), images(5)
    together = beam_search(model, pictures, beams=beams, best=beams, longest=7)
    for image in range(5):
        (alone,) = beam_search(
            model, pictures[image : image + 1], beams=beams, best=beams, longest=7
        )
        assert [x.words for x in alone] == [x.words for x in together[image]]
        for one, other in zip(alone, together[image], strict=True):
            assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)


@ALL
def test_the_score_is_the_sum_of_log_probabilities_and_every_word_has_its_look(kind):
    model, pictures = make(kind, sharp=6.0), images(4)
    for image, captions in enumerate(beam_search(model, pictures, beams=4, best=3, longest=6)):
        for caption in captions:
            picture, words = pictures[image : image + 1], list(caption.words)
            assert caption.log_prob == pytest.approx(scored(model, picture, words), abs=1e-3)
            tape = Tape()
            model(picture, torch.tensor([[words]]), tape)
            if DECODERS[kind].name == "glimpse":
                torch.testing.assert_close(
                    caption.centres, torch.cat(tape.centres), atol=1e-5, rtol=1e-4
                )
                assert caption.grid is caption.weights is None
            else:
                taped = torch.cat(tape.looks, 1)[0].transpose(0, 1)
                torch.testing.assert_close(caption.weights, taped, atol=1e-5, rtol=1e-4)
                assert caption.grid == (3, 5)
            if kind in ("hard", "gumbel"):
                assert torch.equal(caption.places, caption.weights.argmax(-1))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("best", [1, 3])
def test_stopping_early_changes_nothing(penalty, best, monkeypatch):
    model, pictures = make("soft", sharp=4.0), images(16)
    settings = {"beams": 3, "best": best, "longest": 12, "penalty": penalty}
    with torch.no_grad():
        model.decoder.head.bias[END] += 3.0
    steps = []
    model.decoder.head.register_forward_hook(lambda m, i, o: steps.append(len(o)))
    early = beam_search(model, pictures, **settings)
    count = sum(steps)
    monkeypatch.setattr(
        Shelf, "closed", lambda self, images, totals, longest: torch.zeros(len(images), dtype=bool)
    )
    steps.clear()
    late = beam_search(model, pictures, **settings)
    assert [[x.words for x in own] for own in early] == [[x.words for x in own] for own in late]
    assert count < sum(steps) == 16 * 12


class Table:
    """Say words by a table: what may follow depends on the image, the place and the word before."""

    def __init__(self, rows):
        self.rows, self.decoder = rows, self

    def look_at(self, images):
        return self

    def region_grid(self, image_size):
        return None

    def keep(self, images):
        return Table(self.rows[images])

    def begin(self, sight, queries):
        return (torch.zeros(len(sight.rows), queries, 1),)

    def step(self, words, state, sight, word, manner):
        logits = sight.rows[torch.arange(len(words))[:, None], word, words]
        return Step(logits, state, Seen(state[0]))


@pytest.mark.parametrize("penalty", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("best", [1, 2])
def test_an_exact_stop_waits_for_what_a_penalty_may_still_prefer(penalty, best, monkeypatch):
    rows = 3 * torch.randn(300, 6, 7, 7, generator=torch.Generator().manual_seed(3))
    settings = {"beams": 2, "best": best, "longest": 6, "penalty": penalty}
    early = beam_search(Table(rows), torch.zeros(300, 1, 1, 1), **settings)
    monkeypatch.setattr(
        Shelf, "closed", lambda self, images, totals, longest: torch.zeros(len(images), dtype=bool)
    )
    late = beam_search(Table(rows), torch.zeros(300, 1, 1, 1), **settings)
    assert [[x.words for x in own] for own in early] == [[x.words for x in own] for own in late]


@pytest.mark.parametrize(
    ("kind", "seed", "eager"),
    [("local", 3, 2.0), ("gumbel", 3, 0.0), ("transformer", 3, 2.0), ("cells", 4, 0.0)],
)
def test_taking_closed_images_out_changes_nothing(kind, seed, eager, monkeypatch):
    model, pictures = make(kind, seed, sharp=4.0), images(16)
    with torch.no_grad():
        model.decoder.head.bias[END] += eager  # so that captions end at different words
    found, images_of_steps, steps = [], [], []
    model.decoder.head.register_forward_hook(lambda m, i, o: steps.append(len(o)))
    for share in (1.0, 0.75, 0.0):  # at once, when there are enough, never
        monkeypatch.setattr(generate, "CROWDED", share)
        captions = beam_search(model, pictures, beams=3, best=2, longest=12)
        found.append([[x.words for x in own] for own in captions])
        images_of_steps.append(sum(steps))
        steps.clear()
    assert found[0] == found[1] == found[2]
    assert images_of_steps[0] <= images_of_steps[1] < images_of_steps[2]


def test_the_first_word_is_asked_for_once_an_image():
    model, beams = make("soft"), []
    model.decoder.head.register_forward_hook(lambda m, i, o: beams.append(o.shape[1]))
    beam_search(model, images(2), beams=4, longest=3)
    assert beams[0] == 1
    assert set(beams[1:]) == {4}


@ALL
def test_captions_that_do_not_end_are_cut(kind):
    model = make(kind)
    with torch.no_grad():
        model.decoder.head.bias[END] = -1e4
    for captions in beam_search(model, images(2), beams=3, best=2, longest=4):
        assert [x.ended for x in captions] == [False, False]
        assert all(len(x.words) == 4 and END not in x.words for x in captions)


def test_a_caption_may_end_at_once():
    model = make("soft")
    with torch.no_grad():
        model.decoder.head.bias[END] = 50.0
    for captions in beam_search(model, images(2), beams=3, best=1, longest=4):
        assert captions[0].words == (END,)


def test_cut_captions_come_behind_those_that_ended():
    model = make("soft", sharp=4.0)
    with torch.no_grad():
        model.decoder.head.bias[END] += 0.5
    captions = beam_search(model, images(1), beams=6, best=6, longest=2)[0]
    kinds = [x.ended for x in captions]
    assert kinds == sorted(kinds, reverse=True)
    assert {True, False} == set(kinds)
    assert captions[0].score < max(x.score for x in captions)


@ALL
def test_specials_are_never_said(kind):
    model = make(kind)
    with torch.no_grad():
        model.decoder.head.bias[[PAD, START, UNKNOWN]] = 9.0
    for captions in beam_search(model, images(2), beams=2, best=2, longest=5):
        assert not {PAD, START, UNKNOWN} & {word for x in captions for word in x.words}


def test_greedy_takes_the_likeliest_word_every_time():
    model, picture = make("soft", sharp=6.0), images(1)
    (caption,) = beam_search(model, picture, longest=6)[0]
    said = []
    for _ in caption.words:
        with torch.no_grad():
            logits = model(picture, torch.tensor([[[*said, 4]]]))[0, 0, -1]
        logits[FORBIDDEN] = -torch.inf
        said.append(int(logits.argmax()))
    assert tuple(said) == caption.words


@pytest.mark.parametrize("settings", [{"best": 2}, {"longest": 0}, {"penalty": -1.0}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"best must be in \[1, beams\]"):
        beam_search(make("soft"), images(1), **settings)


def test_more_beams_than_words_is_no_problem():
    found = generate.beam_search(make("soft", sharp=3.0), images(2), beams=30, best=9, longest=3)
    assert all(len(captions) == 9 for captions in found)
