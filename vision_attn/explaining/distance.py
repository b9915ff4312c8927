"""How far back the words of a decoder still feel what was read, with its looks and without."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vision_attn.models.captioner import Captioner
from vision_attn.models.decoders import LSTMDecoder
from vision_attn.models.gaze import Seen


def jacobian_norms(
    model: Captioner,
    images: Tensor,
    words: Int64[Tensor, "batch word"],
    *,
    looks: bool,
) -> Float[Tensor, "batch word"]:
    """Give the Frobenius norm of the Jacobian of each word's logits by all regions.

    Without `looks` what was seen counts as given, so that the gradient has to come all the way
    through the states of the LSTM, as in a decoder that only hears a summary (Sutskever 2014,
    arXiv:1409.3215). Raises ValueError for a decoder without such states.
    """
    if not isinstance(model.decoder, LSTMDecoder) or model.encoder is None:
        raise ValueError("distance is measured along the states of an LSTM that looks at regions")
    decoder: Any = model.decoder
    with torch.no_grad():
        found, places = model.encoder(images)
    regions = found.requires_grad_()
    cut = None if looks else decoder.gaze.register_forward_hook(_given)
    try:
        with torch.enable_grad():
            sight = decoder.gaze.alignment.prepare(regions, places)
            logits = decoder(words.unsqueeze(1), sight).squeeze(1)
    finally:
        if cut is not None:
            cut.remove()
    squares = [
        sum(_squares(logits[:, word, output], regions) for output in range(logits.shape[-1]))
        for word in range(logits.shape[1])
    ]
    return torch.stack([torch.as_tensor(x) for x in squares], 1).sqrt()


def _given(module: Any, arguments: Any, seen: Seen) -> Seen:
    """Cut what was seen off from where it comes from."""
    return seen._replace(context=seen.context.detach())


def _squares(outputs: Float[Tensor, " batch"], regions: Tensor) -> Float[Tensor, " batch"]:
    (gradient,) = torch.autograd.grad(outputs.sum(), regions, retain_graph=True)
    return gradient.square().sum((1, 2))
