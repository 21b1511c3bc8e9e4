"""MC-Dropout: dropout stays on when the network predicts, and its masks are the draws."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from duda.batches import Batch
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_network
from duda.methods.sampler import Sampler, network_sampler
from duda.methods.train_mode import random_in_train_mode
from duda.sampling import HiddenDropout, new_seed, raw_outputs

__all__ = ["MCDropout"]


class MCDropout(UncertainModel):
    """A network with dropout, which draws a new mask for each example and each draw.

    Every dropout counts, wherever it hides: modules, functional dropout, attention and recurrent
    layers, and all else that is random in train mode. What is not stays in eval mode. Sources: Gal
    & Ghahramani 2016; Kirsch et al. 2019 for `predict(..., joint=True)`, where a draw has one mask
    for all examples.

    Args:
        network: a module with dropout in it.
        likelihood: what its raw outputs mean.
        samples: number of draws.

    >>> import duda, torch
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
    >>> model = duda.MCDropout(network, duda.Categorical(), samples=20)
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    def __init__(self, network: nn.Module, likelihood: Likelihood, samples: int = 50) -> None:
        super().__init__(likelihood, samples)
        self.network = check_network(network)

    def forward(self, x: Batch) -> Tensor:
        """Return one draw of raw outputs, in training and in eval mode."""
        if self.training:
            return raw_outputs(self.network, x)
        with HiddenDropout(random_in_train_mode(self.network, x)) as mode:
            return mode.call(self.network, x)

    def only_calls(self) -> bool:
        """Return whether it is no subclass."""
        return type(self) is MCDropout

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes draws, which share all that comes before the first dropout.

        If joint, by one mask for all examples: Kirsch et al. 2019, section 3.3, "consistent".
        """
        return network_sampler(
            self.network,
            samples,
            lambda x: partial(HiddenDropout, random_in_train_mode(self.network, x)),
            seed=new_seed(),
            shared=joint,
        )
