"""A forward pass that runs only as far as it is needed, where it is sure what that is."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import itemgetter
from threading import get_ident

from torch import nn
from torch.nn.modules import module as torch_module

from vision_attn.explain.contract import Explainable
from vision_attn.explain.frozen import parts_of

KNOWN = ("torch.nn.", "timm.", "torchvision.", "vision_attn.")
"""Libraries in whose networks tokens are on their own behind the last look."""
HOOKS = itemgetter("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
STEPS = {"forward", "forward_features", "forward_head", "pool"}

_LAST: ContextVar[bool] = ContextVar("_LAST", default=False)


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
    modules = parts_of(model)
    if not all(kind.__module__.startswith(KNOWN) for kind in {*map(type, modules)}):
        return None
    for own in map(vars, modules):
        if any(HOOKS(own)) or not STEPS.isdisjoint(own):
            return None
    return last


def only_looks_now() -> bool:
    """Tell whether a layer runs of which nothing is asked but what it looks at."""
    return _LAST.get()


@contextmanager
def ending_after(layer: nn.Module | None) -> Iterator[None]:
    """End what runs here as soon as `layer` has, or sooner by who hears that it `only_looks_now`.

    With None it comes to its own end, as does what another thread runs meanwhile.
    """
    owner = get_ident()

    def begin(*_: object) -> None:
        if get_ident() == owner:
            _LAST.set(True)

    def end(*_: object) -> None:
        if get_ident() == owner:
            raise Enough

    handles = []
    if layer is not None:
        handles = [layer.register_forward_pre_hook(begin), layer.register_forward_hook(end)]
    try:
        yield
    except Enough:
        pass
    finally:
        _LAST.set(False)
        for handle in handles:
            handle.remove()
