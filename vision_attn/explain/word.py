"""A word of a caption as the class that is explained, given the words before it."""

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn

from vision_attn.explain.contract import Explainable, Images
from vision_attn.tape import Tape


class Speaker(Protocol):
    """A captioner, as far as its words are explained."""

    def __call__(
        self, images: Images, words: Int[Tensor, "batch caption word"]
    ) -> Float[Tensor, "batch caption word vocabulary"]:
        """Say for every word what might have stood there, given those before it."""


class Word(nn.Module):
    """Explain one word of a caption: the vocabulary becomes the classes.

    `caption` are the numbers of its words and `place` the position of the explained one; those
    before it are given. CAM methods listen in `encoder`, the network below the captioner that
    they can explain: of a `Captioner`, its `encoder.network`. ValueError if there is no such place.
    """

    def __init__(
        self,
        captioner: Speaker,
        caption: Int[Tensor, " word"],
        place: int,
        encoder: Explainable | None = None,
    ):
        super().__init__()
        if not 0 <= place < len(caption):
            raise ValueError(f"place must be in [0, {len(caption)}), got {place}")
        self.captioner = captioner
        self.caption = caption
        self.place = place
        self.encoder = encoder

    def forward(self, images: Images, tape: Tape | None = None) -> Float[Tensor, "batch word"]:
        if tape is not None:
            raise ValueError(
                "this method follows attention to a label, and a caption is read word by word; use "
                "grad_cam, saliency or occlusion, or word_maps for where the captioner looked"
            )
        words = self.caption.to(images.device).expand(len(images), 1, -1)
        return self.captioner(images, words)[:, 0, self.place]

    @property
    def cam_layer(self) -> nn.Module:
        """Where CAM methods listen in the encoder."""
        return self._heard.cam_layer

    @property
    def readout(self) -> None:
        """No token stands for the image: the captioner looks anew for every word."""

    def to_map(
        self, activation: Tensor, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """Lay an activation of the encoder out as an image."""
        return self._heard.to_map(activation, image_size)

    @property
    def _heard(self) -> Explainable:
        if self.encoder is None:
            raise ValueError(
                "CAM methods need the encoder that the captioner looks at; give "
                "Word(encoder=...), or use saliency"
            )
        return self.encoder
