"""What a network costs: parameters, operations of a forward pass, images a second."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vision_attn.explain.contract import Images


class Speed(NamedTuple):
    """Images a second of a plain forward pass: the median of several timings, and their range."""

    median: float
    low: float
    high: float


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode without gradients, and every module back as it was."""
    learning = [module for module in model.modules() if module.training]
    if learning:
        model.eval()
    try:
        with torch.no_grad():  # inference_mode would taint what the model caches
            yield
    finally:
        for module in learning:
            module.training = True


def parameters(model: nn.Module) -> int:
    """Count the weights, shared ones once."""
    return sum(weight.numel() for weight in model.parameters())


def flops(model: nn.Module, images: Images) -> int:
    """Count the floating-point operations of one forward pass of one image.

    Counts matrix products and convolutions, attention's among them, at two operations a
    multiply-add; activations and normalisation are left out.
    """
    # Attention is written out while counting: older torch does not know the CPU's fused kernel.
    with at_rest(model), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(images[:1])
    return counter.get_total_flops()


def speeds(
    models: Mapping[str, nn.Module],
    images: Mapping[str, Images],
    repeats: int = 7,
    seconds: float = 0.2,
) -> dict[str, Speed]:
    """Time forward passes of a batch each, in turns so that a busy machine hits all models alike.

    Each of the `repeats` timings of a model runs for at least `seconds`, after one untimed pass.
    """
    timings: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(repeats + 1):
        for name, model in models.items():
            rate = _rate(model, images[name], seconds if turn else 0.0)
            if turn:
                timings[name].append(rate)
    return {name: Speed(median(rates), min(rates), max(rates)) for name, rates in timings.items()}


def _rate(model: nn.Module, images: Images, seconds: float) -> float:
    with at_rest(model):
        passes, start = 0, time.perf_counter()
        while not passes or time.perf_counter() - start < seconds:
            model(images)
            passes += 1
            if images.device.type != "cpu":
                torch.accelerator.synchronize(images.device)
        return passes * len(images) / (time.perf_counter() - start)
