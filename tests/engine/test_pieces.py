import torch

from vision_attn.data.batch import Captioned
from vision_attn.engine.loop import split


def test_a_captioned_batch_is_cut_with_its_texts():
    texts = [(f"caption {index}",) for index in range(6)]
    images, words = torch.arange(6.0).view(6, 1, 1, 1), torch.arange(12).view(6, 2, 1)
    batch = Captioned(images, words, words[..., 0], texts, [])
    pieces = split(batch, 3)
    assert [piece.image.flatten().tolist() for piece in pieces] == [[0, 1], [2, 3], [4, 5]]
    assert [piece.texts for piece in pieces] == [texts[:2], texts[2:4], texts[4:]]
    assert [piece.scenes for piece in pieces] == [[], [], []]
    assert torch.equal(torch.cat([piece.words for piece in pieces]), words)
