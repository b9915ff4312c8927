"""Hold a network still while it is looked into, and leave no trace on it."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from vision_attn.explain.contract import Explainable


@contextmanager
def explained(model: Explainable) -> Iterator[None]:
    """Put the network into eval mode with frozen weights, with gradients of all else enabled.

    On leaving, also by an error, the mode of every module, `requires_grad`, the grad mode and the
    random state are as before; `.grad` is never touched, since no weight takes a gradient. A
    network compiled earlier runs eagerly meanwhile, because compiled code calls no new hooks, and
    one of timm that saves memory by computing activations twice keeps them.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"an explained network must be a torch.nn.Module, got {type(model)}")
    modules: list[Any] = parts_of(model)
    parameters = [x for module in modules for x in module._parameters.values() if x is not None]
    training = [module for module in modules if module.training]
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    # What timm computes again for the gradient would miss the hooks that listened the first time.
    recomputing = [module for module in modules if vars(module).get("grad_checkpointing") is True]
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
            for module in recomputing:
                module.grad_checkpointing = False
            yield
        finally:
            for module in recomputing:
                module.grad_checkpointing = True
            for module in training:
                module.training = True
            for parameter in trainable:
                parameter.requires_grad_()


def must_have(model: Explainable, *names: str) -> None:
    """Raise ValueError where a network does not say what an explainer has to know of it."""
    missing = [x for x in names if not hasattr(type(model), x) and x not in dir(model)]
    if missing:
        raise ValueError(
            f"{type(model).__name__} does not say where its patches are: it has no "
            f"{' and no '.join(missing)}; explain adapt(network), which knows networks of timm and "
            f"torchvision"
        )


def parts_of(network: nn.Module) -> list[nn.Module]:
    """List a network and all that it is made of, in a quarter of the time that `modules` takes."""
    parts, known = [network], {id(network)}
    for part in parts:
        for child in part._modules.values():
            if child is not None and id(child) not in known:
                known.add(id(child))
                parts.append(child)
    return parts


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
