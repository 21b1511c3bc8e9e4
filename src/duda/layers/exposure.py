"""Exposure: counts of a network per hour, kilometre or person, told for as many as there are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from duda.checks import check_count
from duda.doubts import doubt

__all__ = ["Exposure"]


class Exposure(nn.Module):
    """A network of logarithms of rates, whose counts are of an exposure: the last of its inputs.

    The logarithm of the exposure is added to the first outputs: those of `duda.Poisson` and
    `duda.NegativeBinomial` are logarithms of means, so that these are in proportion to it. The
    network, the submodule `network`, gets all other inputs: `(x, exposure)` is what `duda.fit` and
    `predict` take. Source: McCullagh & Nelder 1989, section 6.2.

    Args:
        network: any module.
        targets: how many outputs are logarithms of means: one for each target.
        output_dim: where these are, 1 or -1, as the likelihood says.

    >>> rates = Exposure(nn.Linear(3, 1))
    >>> x = torch.zeros(2, 3)
    >>> rates(x, torch.tensor([1.0, 10.0])) - rates.network(x)
    tensor([[0.0000],
            [2.3026]], grad_fn=<SubBackward0>)
    """

    def __init__(self, network: nn.Module, targets: int = 1, *, output_dim: int = 1) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"`network` is a {type(network).__name__}, expected a torch.nn.Module.")
        if output_dim not in (1, -1):
            raise ValueError(f"`output_dim` is {output_dim!r}, expected 1, or -1 for the last one.")
        self.network = network
        self.targets = check_count(targets, "targets")
        self.output_dim = output_dim

    def extra_repr(self) -> str:
        """Return how many outputs are moved."""
        return f"targets={self.targets}, output_dim={self.output_dim}"

    def forward(self, *inputs: Tensor, **named: Any) -> Tensor:
        """Return the network's outputs, those of means for the exposure.

        Args:
            inputs: of the network, then the exposure: one number above 0 for each example, `(N)`,
                or of a shape that fits the outputs of means. It may come by name, as `exposure`.
            named: further inputs of the network.

        Raises:
            TypeError: if there is no exposure.
            ValueError: if exposures are not above 0, or the network has fewer outputs.
        """
        exposure, inputs = _taken(inputs, named)
        outputs: Tensor = self.network(*inputs, **named)
        dim = self.output_dim if outputs.ndim > 1 else 0
        if outputs.ndim < 2 or outputs.shape[dim] < self.targets:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected at least "
                f"{self.targets} on dimension {self.output_dim}, the logarithms of means."
            )
        means = outputs.narrow(dim, 0, self.targets)
        others = outputs.narrow(dim, self.targets, outputs.shape[dim] - self.targets)
        log = exposure.to(outputs.dtype).log()
        place = 1 if self.output_dim == -1 else log.ndim  # of positions that it has not
        log = log.view(*log.shape[:place], *[1] * (outputs.ndim - log.ndim), *log.shape[place:])
        return torch.cat([means + log.expand_as(means), others], dim)


def _taken(inputs: tuple[Tensor, ...], named: dict[str, Any]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the exposure and what is left of the inputs."""
    exposure = named.pop("exposure", None)
    if exposure is None:
        if len(inputs) + len(named) < 2 or not inputs:
            raise TypeError(
                "the exposure is missing, expected it as the last input of the network: give "
                "`(x, exposure)`."
            )
        *rest, exposure = inputs
        inputs = tuple(rest)

    def look() -> None:
        raise ValueError(
            f"the exposure holds {float(exposure.min()):.4g}, expected numbers above 0: leave out "
            "examples that were not exposed."
        )

    doubt(lambda: ~(exposure > 0).all(), look)
    return exposure, inputs
