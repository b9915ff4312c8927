import pytest
import torch
from tiny import OUTPUTS, Convolutional, batch
from torch import nn

from vision_attn.explain.cam import grad_cam
from vision_attn.explain.gradients import saliency
from vision_attn.explain.perturb import occlusion
from vision_attn.explain.rollout import rollout
from vision_attn.explain.word import Word

CAPTION = torch.tensor([3, 1, 4])


class Captioner(nn.Module):
    """Says at each place what an encoder sees, shifted by the word before."""

    def __init__(self):
        super().__init__()
        self.encoder = Convolutional()

    def forward(self, images, words):
        seen = self.encoder(images)[:, None, None]
        before = nn.functional.pad(words[..., :-1], (1, 0))
        return seen * (1 + before[..., None])


@pytest.mark.parametrize("method", [saliency, grad_cam, occlusion])
def test_a_word_is_explained_given_those_before_it(method):
    captioner, (images, _) = Captioner(), batch(1)
    for place, before in enumerate((0, 3, 1)):
        target = CAPTION[place, None]
        found = method(Word(captioner, CAPTION, place, captioner.encoder), images, target)
        expected = (1 + before) * method(captioner.encoder, images, target)
        torch.testing.assert_close(found, expected)


def test_words_are_named_by_the_vocabulary():
    captioner, (images, _) = Captioner().eval(), batch(2)
    logits = Word(captioner, CAPTION, 1)(images)
    assert torch.equal(logits, captioner(images, CAPTION.expand(2, 1, -1))[:, 0, 1])
    assert logits.shape == (2, OUTPUTS)


def test_what_a_word_cannot_give_is_refused():
    captioner, (images, targets) = Captioner(), batch(1)
    with pytest.raises(ValueError, match=r"place must be in \[0, 3\), got 3"):
        Word(captioner, CAPTION, 3)
    with pytest.raises(ValueError, match=r"Word\(encoder=...\), or use saliency"):
        grad_cam(Word(captioner, CAPTION, 1), images, targets)
    with pytest.raises(ValueError, match="read word by word; use grad_cam"):
        rollout(Word(captioner, CAPTION, 1), images, targets)
