"""Deterministic: the plain network, as the yardstick that every method is measured by."""

from __future__ import annotations

from torch import Tensor, nn

from duda.batches import Batch
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_network, one_draw
from duda.methods.sampler import Sampler
from duda.sampling import raw_outputs

__all__ = ["Deterministic"]


class Deterministic(UncertainModel):
    """A network as it is: one draw, all uncertainty aleatoric.

    Args:
        network: any module whose raw outputs fit the likelihood.
        likelihood: what these outputs mean.

    >>> import duda, torch
    >>> model = duda.Deterministic(torch.nn.Linear(2, 3), duda.Categorical())
    >>> model.predict(torch.zeros(4, 2)).probs.shape
    torch.Size([4, 3])
    """

    def __init__(self, network: nn.Module, likelihood: Likelihood) -> None:
        super().__init__(likelihood, samples=1)
        self.network = check_network(network)

    def forward(self, x: Batch) -> Tensor:
        """Return the network's raw outputs."""
        return raw_outputs(self.network, x)

    def only_calls(self) -> bool:
        """Return whether it is no subclass."""
        return type(self) is Deterministic

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the one draw there is; more would only repeat it."""
        return one_draw(self, samples)
