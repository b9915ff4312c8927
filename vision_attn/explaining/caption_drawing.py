"""Figures of captions as a run's network made them: of images, and of sentences that were read."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vision_attn.engine.atomic import whole
from vision_attn.explain.words import middles, word_maps
from vision_attn.explaining.distance import jacobian_norms
from vision_attn.language.vocabulary import END, PAD
from vision_attn.models.caption_config import RetinaConfig, TokensConfig
from vision_attn.models.captioner import Captioner
from vision_attn.models.decoders import LSTMDecoder
from vision_attn.models.generate import Caption
from vision_attn.report.alignment import alignment_figure, distance_figure
from vision_attn.report.caption_page import Shown
from vision_attn.report.captions import Told, caption_figure
from vision_attn.report.overlay import pictures
from vision_attn.spec import Spec

ENDS = {END: "(end)"}
"""How the end of a caption is written in figures."""


def measures_distance(model: Captioner) -> bool:
    """Tell whether it reads sentences, and an LSTM says what it makes of them."""
    reads = isinstance(model.config.encoder, TokensConfig)
    return reads and isinstance(model.decoder, LSTMDecoder)


def write_distance(
    path: Path, model: Captioner, sentences: Tensor, found: Sequence[Sequence[Caption]]
) -> None:
    """Draw how far back the words of the first captions feel what was read."""
    rows = [torch.tensor(own[0].words, device=sentences.device) for own in found]
    words = pad_sequence(rows, batch_first=True, padding_value=PAD)
    norms = {
        name: jacobian_norms(model, sentences, words, looks=looks)
        .masked_fill(words == PAD, torch.nan)
        .cpu()
        .numpy()
        for name, looks in (("with attention", True), ("through the states alone", False))
    }
    with whole(path) as file:
        distance_figure(norms).savefig(file, format="png", dpi=160)


def drawn(
    name: str, view: Tensor, captions: Sequence[Caption], model: Captioner, spec: Spec
) -> tuple[Figure, Shown | None]:
    """Draw the first caption; give also what the page shows, which has no sentences."""
    if isinstance(model.config.encoder, TokensConfig):
        read = [spec.names[number] for number in view.flatten().tolist() if number != PAD]
        first = captions[0]
        assert first.weights is not None
        said = [ENDS.get(number, spec.names[number]) for number in first.words]
        return alignment_figure(read, said, first.weights.mean(1).cpu().numpy()), None
    picture = pictures(view[None], spec)[0]
    told = [_told(own, model, spec) for own in captions]
    return caption_figure(picture, told[0]), Shown(name, picture, told)


def _told(own: Caption, model: Captioner, spec: Spec) -> Told:
    """Say of a caption what its figure shows."""
    words = [ENDS.get(number, spec.names[number]) for number in own.words]
    told = Told(words, word_maps(own, spec.image_size), own.log_prob, ended=own.ended)
    retina = model.config.encoder
    if isinstance(retina, RetinaConfig) and own.extents is not None:
        growth = torch.tensor([retina.growth**scale for scale in range(retina.scales)])
        extents = own.extents[:, None].cpu() * growth[:, None]
        return told._replace(centres=own.centres, extents=extents)
    if own.places is not None and own.grid is not None:
        return told._replace(places=middles(own.places, own.grid))
    return told
