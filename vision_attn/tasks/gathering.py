"""Findings of all ranks put together."""

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def gathered(findings: list[T]) -> list[T]:
    """Give every rank the findings of all, in the order of the ranks; alone, one's own."""
    if not dist.is_initialized():
        return findings
    parts: list[list[T]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, findings)
    return [finding for part in parts for finding in part]
