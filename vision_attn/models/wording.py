"""From logits to words: what may be said, and draws from it."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vision_attn.language.vocabulary import PAD, START, UNKNOWN

FORBIDDEN = [PAD, START, UNKNOWN]
"""Words that no generated caption holds."""
Scores = Float[Tensor, "*query vocabulary"]


def log_probabilities(logits: Scores) -> Scores:
    """Give the model's log-probabilities, with -inf for what no caption holds."""
    found = logits.float().log_softmax(-1)
    found[..., FORBIDDEN] = -torch.inf
    return found


def narrowed(log_probs: Scores, top_k: int | None, top_p: float | None) -> Scores:
    """Rule out all but the `top_k` likeliest words, or the fewest that sum to `top_p` (nucleus).

    Holtzman 2020, section 3.1 (arXiv:1904.09751).
    """
    if top_k is not None:
        least = log_probs.topk(min(top_k, log_probs.shape[-1])).values[..., -1:]
        log_probs = log_probs.masked_fill(log_probs < least, -torch.inf)
    if top_p is not None:
        ranked, order = log_probs.softmax(-1).sort(descending=True)
        beyond = ranked.cumsum(-1) - ranked >= top_p
        log_probs = log_probs.masked_fill(beyond.gather(-1, order.argsort(-1)), -torch.inf)
    return log_probs


def draw(log_probs: Scores, generator: torch.Generator | None) -> Int64[Tensor, "*query"]:
    """Draw words in proportion to their probabilities, which need not sum to 1."""
    noise = torch.empty_like(log_probs).exponential_(generator=generator).clamp_min(1e-20)
    return (log_probs - noise.log()).argmax(-1)
