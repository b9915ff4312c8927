"""A forward pass that runs only as far as it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class Enough(Exception):  # noqa: N818  (not an error)
    """End a forward pass that has shown all that was asked for."""


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
