"""What captions learn from: words, looks that add up, and rewards for looks that are drawn.

Captions of an image are entries of the batch here: (batch caption ...) flattened. Sums are over
the words of a caption and means over captions, as in the papers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from vision_attn.language.vocabulary import PAD
from vision_attn.tasks.reinforce import to_go

Words = Float[Tensor, "batch word"]
Real = Bool[Tensor, "batch word"]
POSITIONS = 64
"""Words that a moving baseline tells apart by their place; later ones share the last."""


def said(
    logits: Float[Tensor, "batch word vocabulary"], words: Int64[Tensor, "batch word"]
) -> Words:
    """Give the log-probability of every word; 0 for padding."""
    log_probs = logits.float().log_softmax(-1)
    return log_probs.gather(-1, words.unsqueeze(-1)).squeeze(-1) * (words != PAD)


def smoothed(
    logits: Float[Tensor, "batch word vocabulary"], words: Int64[Tensor, "batch word"], share: float
) -> Words:
    """Give the cross-entropy of every word with its target spread over all words; 0 for padding."""
    losses = F.cross_entropy(
        logits.float().flatten(0, 1),
        words.flatten(),
        ignore_index=PAD,
        reduction="none",
        label_smoothing=share,
    )
    return losses.unflatten(0, words.shape)


def doubly_stochastic(
    looks: Float[Tensor, "batch head word region"], real: Real, target: str
) -> Float[Tensor, " batch"]:
    """Ask every region to be looked at alike over a caption: sum of (target - sum of looks)².

    The target is one, or with "share" words / regions, which the looks of a caption add up to.
    Only the looks before real words count, and heads are averaged.

    Xu 2015, equation 14 (arXiv:1502.03044).
    """
    seen = (looks.mean(1) * real.unsqueeze(-1)).sum(1)
    wanted = real.sum(1, keepdim=True) / seen.shape[1] if target == "share" else 1.0
    return (wanted - seen).square().sum(1)


def returns(log_probs: Words, reward: str) -> Words:
    """Say what a look before each word is credited with: the whole caption, or the rest of it."""
    log_probs = log_probs.detach()
    if reward == "rest":
        return to_go(log_probs)
    return log_probs.sum(1, keepdim=True).expand_as(log_probs)


class MovingBaseline(nn.Module):
    """Remember the mean return of earlier batches: b <- 0.9 b + 0.1 mean, for each word's place.

    With `shared` all places have one, as where the whole caption is the reward. The batch at hand
    never enters its own baseline; where none is known yet, nothing is learned.

    Xu 2015, section 4.1 (arXiv:1502.03044).
    """

    values: Tensor
    known: Tensor

    def __init__(self, *, shared: bool, momentum: float = 0.9):
        super().__init__()
        self.momentum = momentum
        places = 1 if shared else POSITIONS
        self.register_buffer("values", torch.zeros(places))
        self.register_buffer("known", torch.zeros(places, dtype=torch.bool))

    def advantages(self, returns: Words, counted: Real) -> Words:
        """Subtract the baseline from the returns, 0 where not counted, and then move it."""
        places = torch.arange(returns.shape[1], device=returns.device)
        places = places.clamp_max(len(self.values) - 1)
        advantages = (returns - self.values[places]) * (counted & self.known[places])
        self._move(returns.detach(), counted, places)
        return advantages

    @torch.no_grad()
    def _move(self, returns: Tensor, counted: Tensor, places: Tensor) -> None:
        zeros = torch.zeros_like(self.values)
        totals = zeros.index_add(0, places, (returns * counted).sum(0).to(zeros))
        counts = zeros.index_add(0, places, counted.sum(0).to(zeros))
        means = totals / counts.clamp_min(1)
        moved = torch.where(self.known, self.values.lerp(means, 1 - self.momentum), means)
        self.values.copy_(torch.where(counts > 0, moved, self.values))
        self.known.logical_or_(counts > 0)
