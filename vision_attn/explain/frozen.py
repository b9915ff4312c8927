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
    parameters = list(model.parameters())
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(_accelerators(parameters)))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(eagerly())
        try:
            if training:
                model.eval()
            for parameter in trainable:
                parameter.requires_grad_(False)
            yield
        finally:
            for module in training:
                module.training = True
            for parameter in trainable:
                parameter.requires_grad_()


@contextmanager
def eagerly() -> Iterator[None]:
    """Run a network compiled earlier as if it were not, for the time being."""
    with ExitStack() as stack:
        # Where dynamo was never loaded nothing was compiled, and its import takes seconds.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _accelerators(parameters: list[nn.Parameter]) -> list[torch.device]:
    return list({parameter.device for parameter in parameters if parameter.is_cuda})
