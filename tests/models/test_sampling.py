"""Sampled captions: as often as the model says, from the words that are left, by the generator."""

import pytest
import torch
from tiny_captioner import NAMES, images, make

from vision_attn.language.vocabulary import END
from vision_attn.models.generate import beam_search
from vision_attn.models.sampling import sample
from vision_attn.models.wording import FORBIDDEN, narrowed


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def first_words(model, picture, **settings):
    captions = sample(model, picture, generator=generator(), samples=4000, longest=1, **settings)
    words = torch.tensor([caption.words[0] for caption in captions[0]])
    return torch.bincount(words, minlength=len(NAMES)) / len(words)


def allowed_probabilities(model, picture, temperature=1.0):
    with torch.no_grad():
        logits = model(picture, torch.tensor([[[4]]]))[0, 0, 0] / temperature
    logits[FORBIDDEN] = -torch.inf
    return logits.softmax(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_words_are_drawn_as_often_as_they_are_likely(temperature):
    model, picture = make("soft", sharp=3.0), images(1)
    expected = allowed_probabilities(model, picture, temperature)
    found = first_words(model, picture, temperature=temperature)
    assert ((found - expected).abs() <= 4 * (expected * (1 - expected) / 4000).sqrt()).all()


def test_top_k_and_nucleus_leave_the_likeliest_words():
    model, picture = make("soft", sharp=3.0), images(1)
    likely = allowed_probabilities(model, picture)
    order = likely.argsort(descending=True)
    found = first_words(model, picture, top_k=3)
    assert set(found.nonzero()[:, 0].tolist()) == set(order[:3].tolist())
    share = float(likely[order[:2]].sum()) + 1e-3
    found = first_words(model, picture, top_p=share)
    assert set(found.nonzero()[:, 0].tolist()) == set(order[:3].tolist())


def test_a_nucleus_holds_the_fewest_words_that_reach_its_share():
    probabilities = torch.tensor([0.1, 0.4, 0.3, 0.2])
    for share, left in [(0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.95, 4)]:
        kept = narrowed(probabilities.log(), None, share).isfinite()
        assert kept.sum() == left
        assert probabilities[kept].min() > probabilities[~kept].max() if left < 4 else kept.all()


@pytest.mark.parametrize("kind", ["soft", "transformer", "glimpse", "cells", "hard"])
def test_captions_know_their_log_probability_and_length(kind):
    model, pictures = make(kind, sharp=2.0), images(2)
    for image, captions in enumerate(sample(model, pictures, generator=generator(), samples=9)):
        for caption in captions:
            words = torch.tensor([[caption.words]])
            with torch.no_grad():
                logits = model(pictures[image : image + 1], words)[0, 0]
            log_probs = logits.log_softmax(-1).gather(1, words[0, 0][:, None])
            assert caption.log_prob == pytest.approx(log_probs.sum().item(), abs=1e-3)
            assert caption.ended == (caption.words[-1] == END)
            assert END not in caption.words[:-1]
            looks = caption.centres if kind in ("glimpse", "cells") else caption.weights
            assert len(looks) == len(caption.words)


def test_the_generator_decides_alone():
    model, pictures = make("soft"), images(2)
    before = torch.get_rng_state()
    first, again, other = (
        [x.words for own in sample(model, pictures, generator=generator(seed)) for x in own]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_a_low_temperature_is_greedy():
    model, pictures = make("soft", sharp=3.0), images(3)
    found = sample(model, pictures, generator=generator(), samples=5, temperature=1e-4, longest=5)
    greedy = beam_search(model, pictures, beams=1, longest=5)
    for captions, (likeliest,) in zip(found, greedy, strict=True):
        assert {caption.words for caption in captions} == {likeliest.words}
        assert captions[0].log_prob == pytest.approx(likeliest.log_prob, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples and longest must be 1 or more"),
        ({"temperature": 0.0}, "temperature positive"),
        ({"top_k": 0}, "top_k must be 1 or more"),
        ({"top_p": 0.0}, r"top_p in \(0, 1\]"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sample(make("soft"), images(1), generator=None, **settings)
