"""The captioner: an encoder that gives regions, a decoder that looks at them and says words."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.attention.window import Grid
from vision_attn.models.caption_config import (
    CaptionerConfig,
    GlimpseDecoderConfig,
    LSTMDecoderConfig,
    RetinaConfig,
    TransformerDecoderConfig,
)
from vision_attn.models.decoders import Decoder, Logits, LSTMDecoder, Words
from vision_attn.models.encoder import Regions
from vision_attn.models.gaze import Manner, RegionGaze
from vision_attn.models.generate import Caption, beam_search
from vision_attn.models.glimpse_gaze import GlimpseGaze
from vision_attn.models.sampling import sample
from vision_attn.models.transformer_decoder import TransformerDecoder
from vision_attn.spec import Spec
from vision_attn.tape import Tape


class Captioner(nn.Module):
    """Say what is on an image, looking at it again for every word.

    The words are those of the specification's names, by number.
    """

    def __init__(self, config: CaptionerConfig, spec: Spec):
        super().__init__()
        self.config, self.spec = config, spec
        self.encoder: Regions | None = None
        self.decoder: LSTMDecoder | TransformerDecoder
        if isinstance(config.encoder, RetinaConfig):
            assert isinstance(config.decoder, GlimpseDecoderConfig)
            gaze = GlimpseGaze(config.encoder, config.decoder, spec.channels)
            self.decoder = LSTMDecoder(gaze, config.decoder, spec.outputs)
            return
        self.encoder = Regions(config, spec, config.decoder.dim)
        if isinstance(config.decoder, TransformerDecoderConfig):
            self.decoder = TransformerDecoder(config.decoder, spec.outputs)
        else:
            assert isinstance(config.decoder, LSTMDecoderConfig)
            rows, columns = self.encoder.grid
            looking = RegionGaze(config.decoder, rows * columns)
            self.decoder = LSTMDecoder(looking, config.decoder, spec.outputs)

    def look_at(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Any:
        """Encode every image once and prepare all that looks at it need."""
        if self.encoder is None:
            assert isinstance(self.decoder.gaze, GlimpseGaze)
            return self.decoder.gaze.open(images)
        regions, places = self.encoder(images, tape)
        decoder = self.decoder
        if isinstance(decoder, TransformerDecoder):
            return decoder.prepare(regions, places)
        assert isinstance(decoder.gaze, RegionGaze)
        return decoder.gaze.alignment.prepare(regions, places)

    def region_grid(self, image_size: tuple[int, int]) -> Grid | None:
        """Tell the grid of regions of an image of (rows, columns) pixels; None for a retina."""
        return None if self.encoder is None else self.encoder.region_grid(image_size)

    def forward(
        self,
        images: Float[Tensor, "batch channel height width"],
        words: Words,
        tape: Tape | None = None,
        *,
        temperature: float = 1.0,
        expected_share: float = 0.0,
        own_words: float = 0.0,
    ) -> Logits:
        """Say for every word of every caption what might have stood there, given those before it.

        An image is encoded once for all its captions. A tape gets the looks, captions of an image
        being entries of its batch. In training, looks that are drawn are, and for `expected_share`
        of the images the expected value stands in for the draws; `temperature` is that of the
        Gumbel softmax, and `own_words` the probability of scheduled sampling.
        """
        expected = None
        if self.training and expected_share and self._can_average:
            expected = torch.rand(len(images), device=images.device) < expected_share
        manner = Manner(self.training, temperature, expected)
        decoder: Decoder = self.decoder
        return decoder(words, self.look_at(images, tape), tape, manner, own_words)

    def search(
        self, images: Float[Tensor, "batch channel height width"], **settings: Any
    ) -> list[list[Caption]]:
        """Caption images by beam search; settings are those of `beam_search`."""
        return beam_search(self, images, **settings)

    def sample(
        self, images: Float[Tensor, "batch channel height width"], **settings: Any
    ) -> list[list[Caption]]:
        """Caption images by drawing words; settings are those of `sampling.sample`."""
        return sample(self, images, **settings)

    def anneal(self, progress: float) -> None:
        """Draw the places of glimpses as after a share of the training, [0, 1]."""
        gaze = getattr(self.decoder, "gaze", None)
        if isinstance(gaze, GlimpseGaze):
            gaze.policy.anneal(progress)

    @property
    def _can_average(self) -> bool:
        """Tell whether looks are drawn from a list of places."""
        decoder = self.config.decoder
        if isinstance(decoder, GlimpseDecoderConfig):
            return decoder.policy == "categorical"
        return isinstance(decoder, LSTMDecoderConfig) and decoder.look == "hard"

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks of the encoder in the backward pass; ValueError if it cannot."""
        network = None if self.encoder is None else self.encoder.network
        switch = getattr(network, "set_grad_checkpointing", None)
        if not callable(switch):
            raise ValueError("checkpointing is not for this encoder; set checkpointing=false")
        switch(enable)
