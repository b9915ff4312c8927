"""One small picture and a caption of two words, and the task that they are for."""

import torch

from vision_attn.data.batch import Captioned
from vision_attn.spec import Spec

NAMES = ("<pad>", "<start>", "<end>", "<unknown>", "a", "red", "ring")
SPEC = Spec(image_size=(4, 12), names=NAMES)
WORDS = torch.tensor([[[5, 2]]])
PICTURE = torch.randn(1, 3, 4, 12, generator=torch.Generator().manual_seed(5))


def batch(count: int, words: torch.Tensor = WORDS) -> Captioned:
    """Give the picture and its caption so many times."""
    return Captioned(
        PICTURE.expand(count, -1, -1, -1),
        words.expand(count, -1, -1),
        torch.full((count, 1), 2),
        [],
        [],
    )
