"""From rewards to what a policy learns from: sums to come, baselines, a common scale."""

import torch
from jaxtyping import Float
from torch import Tensor


def to_go(rewards: Float[Tensor, "batch step"]) -> Float[Tensor, "batch step"]:
    """Sum the rewards of every step and of all after it: what a choice before it can still change.

    Williams 1992; Sutton 2000, theorem 1, for leaving out rewards of the past.
    """
    return rewards.flip(1).cumsum(1).flip(1)


def over_others(returns: Float[Tensor, "batch step"], rollouts: int) -> Float[Tensor, "batch step"]:
    """Hold every rollout against the mean of the others of the same image, which lie side by side.

    A mean that leaves the rollout itself out keeps the estimate unbiased: Kool 2019.
    """
    grouped = returns.unflatten(0, (-1, rollouts))
    others = (grouped.sum(1, keepdim=True) - grouped) / (rollouts - 1)
    return (grouped - others).flatten(0, 1)


def scaled(advantages: Float[Tensor, "batch step"]) -> Float[Tensor, "batch step"]:
    """Divide by the root mean square; all zero stays all zero."""
    scale = advantages.square().mean().sqrt()
    return torch.where(scale > 0, advantages / scale, advantages)


def stopping(stops: Float[Tensor, "batch step"]) -> Float[Tensor, "batch step"]:
    """Turn the probability of stopping, of those still looking, into that of every end.

    Who never stops ends at the last step; rows sum to 1.
    """
    going = (1 - stops[:, :-1]).cumprod(1)
    arrived = torch.cat([torch.ones_like(stops[:, :1]), going], 1)
    return arrived * torch.cat([stops[:, :-1], torch.ones_like(stops[:, :1])], 1)
