"""A sentence as something to look at: words read from both ends, one region each."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vision_attn.language.vocabulary import PAD
from vision_attn.models.caption_config import TokensConfig
from vision_attn.models.embed import Grid
from vision_attn.spec import Spec
from vision_attn.tape import Tape


class TokenEncoder(nn.Module):
    """Read numbers of words by an LSTM in each direction; a sentence is an image of one row.

    Bahdanau 2015, section 3.2, there with gated recurrent units (arXiv:1409.0473).
    """

    def __init__(self, config: TokensConfig, spec: Spec):
        super().__init__()
        self.embed = nn.Embedding(spec.outputs, config.dim, padding_idx=PAD)
        self.rnn = nn.LSTM(config.dim, config.dim // 2, batch_first=True, bidirectional=True)
        self.region_dim = config.dim

    def region_grid(self, image_size: tuple[int, int]) -> Grid:
        """Give one row of as many regions as there are words."""
        return 1, image_size[1]

    def padding(self, sentences: Int64[Tensor, "batch 1 1 token"]) -> Bool[Tensor, "batch token"]:
        """Mark what is no word."""
        return sentences.flatten(1) == PAD

    def regions(
        self, images: Int64[Tensor, "batch 1 1 token"], tape: Tape | None = None
    ) -> Float[Tensor, "batch token dim"]:
        """Give a region for each word, zeros for padding; every sentence needs a word."""
        words = images.flatten(1)
        lengths = (words != PAD).sum(1).cpu()
        if not lengths.all():
            raise ValueError(f"a sentence must have a word, got lengths {lengths.tolist()}")
        packed = pack_padded_sequence(
            self.embed(words), lengths, batch_first=True, enforce_sorted=False
        )
        found, _ = pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=words.shape[1]
        )
        return torch.as_tensor(found)
