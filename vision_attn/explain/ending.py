"""A forward pass that runs only as far as it is needed, where it is sure what that is."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules import module as torch_module

from vision_attn.explain.contract import Explainable

KNOWN = ("torch.nn.", "timm.", "torchvision.", "vision_attn.")
"""Libraries in whose networks tokens are on their own behind the last look."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
STEPS = {"forward", "forward_features", "forward_head", "pool"}


class Enough(BaseException):
    """End a forward pass that has shown all that was asked for."""


def last_look_of(model: Explainable) -> nn.Module | None:
    """Find the one layer after which `model` attends no more, to leave out what nobody reads.

    None unless all of the network is code of a known library, as its class has it, with no hook of
    anybody's: who listens there, changes gradients or mixes tokens must find all of them.
    """
    last = getattr(model, "last_look", None)
    if last is None or not isinstance(model, nn.Module) or torch_module._has_any_global_hook():
        return None
    for module in model.modules():
        changed = any(getattr(module, hooks) for hooks in HOOKS) or STEPS & vars(module).keys()
        if changed or not type(module).__module__.startswith(KNOWN):
            return None
    return last


@contextmanager
def ending_after(layer: nn.Module | None) -> Iterator[None]:
    """End what runs here as soon as `layer` has; with None it comes to its own end."""

    def end(*_: object) -> None:
        raise Enough

    handle = None if layer is None else layer.register_forward_hook(end)
    try:
        yield
    except Enough:
        pass
    finally:
        if handle is not None:
            handle.remove()
