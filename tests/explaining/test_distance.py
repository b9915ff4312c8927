import pytest
import torch

from vision_attn.data.sequence_config import ReversalConfig
from vision_attn.explaining.distance import jacobian_norms
from vision_attn.models.caption_config import (
    CaptionerConfig,
    LSTMDecoderConfig,
    TokensConfig,
    TransformerDecoderConfig,
)


@pytest.fixture
def sentences():
    data = ReversalConfig(letters=5, shortest=4, longest=7, train=11).build()
    batch = data.train.__getitems__([(0, i) for i in range(3)])
    return data.spec, batch.image, batch.words[:, 0]


def captioner(spec, decoder=None):
    torch.manual_seed(3)
    decoder = decoder or LSTMDecoderConfig(dim=8)
    return CaptionerConfig(encoder=TokensConfig(dim=6), decoder=decoder).build(spec).eval()


def test_the_norm_is_that_of_the_jacobian(sentences):
    spec, images, words = sentences
    model = captioner(spec)
    regions, places = model.encoder(images[:1])

    def logits(regions):
        sight = model.decoder.gaze.alignment.prepare(regions, places)
        return model.decoder(words[:1, None], sight)[0, 0]

    jacobian = torch.autograd.functional.jacobian(logits, regions)
    norms = jacobian_norms(model, images, words, looks=True)
    torch.testing.assert_close(norms[0], jacobian.flatten(1).norm(dim=1))


def test_without_looks_words_feel_less_and_the_model_is_left_as_it_was(sentences):
    spec, images, words = sentences
    model = captioner(spec)
    whole = jacobian_norms(model, images, words, looks=True)
    states = jacobian_norms(model, images, words, looks=False)
    assert (states[:, 3:] < whole[:, 3:] / 4).all()
    assert (states.diff(dim=1) < 0).all()
    assert (whole[:, -1] > whole[:, 0] / 2).all()
    torch.testing.assert_close(jacobian_norms(model, images, words, looks=True), whole)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_transformer_has_no_states(sentences):
    spec, images, words = sentences
    model = captioner(spec, TransformerDecoderConfig(dim=8, depth=1, heads=2))
    with pytest.raises(ValueError, match="along the states of an LSTM"):
        jacobian_norms(model, images, words, looks=True)
