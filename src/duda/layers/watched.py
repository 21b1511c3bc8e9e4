"""What goes into the layers of a network while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from torch import Tensor, nn

__all__ = ["watched_inputs"]

Layer = TypeVar("Layer", bound=nn.Module)


@contextmanager
def watched_inputs(layers: Iterable[Layer]) -> Iterator[list[tuple[Layer, Tensor]]]:
    """Collect the layers' calls and their first inputs, in order, for as long as it lasts.

    >>> relu = nn.ReLU()
    >>> with watched_inputs([relu]) as calls:
    ...     _ = nn.Sequential(nn.Linear(2, 3), relu)(Tensor([[1.0, 2.0]]))
    >>> [(layer, h.shape) for layer, h in calls]
    [(ReLU(), torch.Size([1, 3]))]
    """
    calls: list[tuple[Layer, Tensor]] = []

    def note(layer: Layer, inputs: tuple[Tensor, ...]) -> None:
        calls.append((layer, inputs[0]))

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.register_forward_pre_hook(note))
        yield calls
