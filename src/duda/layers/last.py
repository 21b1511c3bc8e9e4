"""The last layer of a network, which some methods treat apart from the rest."""

from __future__ import annotations

from torch import nn

__all__ = ["last_linear"]


def last_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of the linear layer that was registered last.

    Raises:
        ValueError: if there is none.

    >>> last_linear(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ('2', Linear(in_features=8, out_features=3, bias=True))
    """
    found = [
        (name, module) for name, module in network.named_modules() if type(module) is nn.Linear
    ]
    if not found:
        raise ValueError(
            f"the network, a {type(network).__name__}, has no `nn.Linear`, expected one as its "
            "last layer."
        )
    return found[-1]
