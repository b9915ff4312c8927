"""Hold a network still while it is looked into, and leave no trace on it."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from vision_attn.explain.contract import Explainable


@contextmanager
def explained(model: Explainable) -> Iterator[None]:
    """Put the network into eval mode with frozen weights, with gradients of all else enabled.

    On leaving, also by an error, the mode of every module, `requires_grad`, the grad mode and the
    random state are as before; `.grad` is never touched, since no weight takes a gradient. A
    network compiled earlier runs eagerly meanwhile, because compiled code calls no new hooks.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"an explained network must be a torch.nn.Module, got {type(model)}")
    modes = [(module, module.training) for module in model.modules()]
    grads = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(_devices(model)))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(eagerly())
        try:
            model.eval()
            for parameter, _ in grads:
                parameter.requires_grad_(False)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, requires_grad in grads:
                parameter.requires_grad_(requires_grad)


@contextmanager
def eagerly() -> Iterator[None]:
    """Run a network compiled earlier as if it were not, for the time being."""
    with ExitStack() as stack:
        # Where dynamo was never loaded nothing was compiled, and its import takes seconds.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _devices(model: nn.Module) -> list[torch.device]:
    return list({p.device for p in model.parameters() if p.device.type == "cuda"})
