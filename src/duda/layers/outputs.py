"""Outputs of a network that returns several: one of them, for all who take just one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["Outputs"]


class Outputs(nn.Module):
    """A network of whose outputs, such as a tuple or a dict, one is taken.

    The network is the submodule `network`, by which its layers have their names.

    Args:
        network: any module.
        outputs: the place of an output in a tuple, its name in a dict or among the attributes of an
            object, or a function from all that the network returns to one tensor.

    >>> import torch
    >>> Outputs(nn.LSTM(4, 8, batch_first=True), lambda found: found[0][:, -1])(
    ...     torch.zeros(2, 5, 4)
    ... ).shape
    torch.Size([2, 8])
    """

    def __init__(self, network: nn.Module, outputs: str | int | Callable[[Any], Tensor]) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"`network` is a {type(network).__name__}, expected a torch.nn.Module.")
        if isinstance(outputs, bool) or not (isinstance(outputs, str | int) or callable(outputs)):
            raise TypeError(
                f"`outputs` is {outputs!r}, expected a place, a name or a function of all outputs."
            )
        self.network, self.outputs = network, outputs

    def extra_repr(self) -> str:
        """Return which output is taken, unless a function chooses it."""
        return "" if callable(self.outputs) else f"outputs={self.outputs!r}"

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the chosen output.

        Raises:
            TypeError: if the network has no such output, or it is no tensor.
        """
        found = self.network(*args, **kwargs)
        chosen = self.outputs(found) if callable(self.outputs) else _chosen(found, self.outputs)
        if isinstance(chosen, Tensor):
            return chosen
        what = "no such output" if chosen is None else f"a {type(chosen).__name__} there"
        raise TypeError(
            f"`outputs` is {self.outputs!r}, but the network returned a {type(found).__name__} "
            f"with {what}, expected a tensor{_known(found)}."
        )


def _chosen(found: Any, outputs: str | int) -> Any:
    """Return the output with this name or place, None if there is none."""
    if isinstance(found, Mapping) and outputs in found:
        return found[outputs]
    if isinstance(outputs, str):
        return getattr(found, outputs, None)
    several = tuple(found) if isinstance(found, tuple | list) else ()
    return several[outputs] if -len(several) <= outputs < len(several) else None


def _known(found: Any) -> str:
    if isinstance(found, Mapping):
        return f": it has {', '.join(map(repr, found))}"
    return f": it has {len(found)}" if isinstance(found, tuple | list) else ""
