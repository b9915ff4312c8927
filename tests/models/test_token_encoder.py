"""Sentences to look at: padding is of no weight, and every score and window takes them."""

import pytest
import torch
from tiny_captioner import NAMES, captions

from vision_attn.models.caption_config import (
    CaptionerConfig,
    LSTMDecoderConfig,
    TokensConfig,
    TransformerDecoderConfig,
)
from vision_attn.spec import Spec

SPEC = Spec(image_size=(1, 7), names=NAMES, channels=1, mean=(0.0,), std=(1.0,))
SENTENCES = torch.tensor([[4, 5, 6, 7, 8, 9, 10], [9, 4, 7, 0, 0, 0, 0]])[:, None, None]
DECODERS = [
    LSTMDecoderConfig(dim=8, score="general"),
    LSTMDecoderConfig(dim=8, heads=2, score="dot"),
    LSTMDecoderConfig(dim=8, window="monotonic", reach=1),
    LSTMDecoderConfig(dim=8, window="predictive", reach=2),
    LSTMDecoderConfig(dim=8, look="hard"),
    TransformerDecoderConfig(dim=8, depth=2, heads=2),
]


def make(decoder):
    torch.manual_seed(3)
    return CaptionerConfig(encoder=TokensConfig(dim=6), decoder=decoder).build(SPEC).eval()


@pytest.mark.parametrize("decoder", DECODERS)
def test_padding_of_a_sentence_changes_nothing(decoder):
    model, words = make(decoder), captions(2, 1, 5)
    with torch.no_grad():
        together = model(SENTENCES, words)
        alone = model(SENTENCES[1:, ..., :3], words[1:])
    torch.testing.assert_close(alone, together[1:])


@pytest.mark.parametrize("decoder", DECODERS)
def test_looks_leave_padding_out(decoder):
    model = make(decoder)
    for image, (caption,) in enumerate(model.search(SENTENCES, longest=4)):
        assert caption.grid == (1, 7)
        beyond = caption.weights[..., 3 if image else 7 :]
        assert (beyond == 0).all()
        assert (caption.weights.sum(-1) > 0).all()


def test_a_word_knows_what_stands_on_both_sides():
    model = make(DECODERS[0])
    with torch.no_grad():
        regions = model.encoder(SENTENCES)[0]
        for changed in (0, 6):
            other = SENTENCES.clone()
            other[0, 0, 0, changed] = 4 if changed else 10
            moved = (model.encoder(other)[0] - regions).abs().amax(-1)
            assert moved[0, 3] > 1e-6
            assert moved[1].max() == 0


def test_a_sentence_without_words_is_refused():
    with pytest.raises(ValueError, match="a sentence must have a word"):
        make(DECODERS[0])(torch.zeros_like(SENTENCES), captions(2, 1, 3))
