"""Several outputs of a network: their names, and the weights of losses that a model learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from duda.likelihoods import Likelihood
from duda.methods.target_scale import NETWORKS, KeepsTargetScale
from duda.outputs import name_heads

__all__ = ["LossWeights", "SeveralOutputs"]

_WEIGHTS = "_duda_loss_weights"  # a network's attribute, which copies of it have, too


class LossWeights(nn.Module):
    """The log-variances of the noise of several outputs, from which their losses' weights follow.

    They stay in float32: a change of the network's dtype would round them.
    Source: Kendall, Gal & Cipolla 2018, section 3.3.

    Args:
        count: of the outputs whose noise is learned.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(count))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        values = self.log_variances.data
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.log_variances.data = values.to(self.log_variances.device)
        return self


class SeveralOutputs(KeepsTargetScale):
    """Names a network's outputs as its likelihood does, and holds what is learned of their noise.

    As the noise is that of the data, all networks of a model, and all models around one network,
    learn it together.
    """

    loss_weights: LossWeights

    @property
    def scaled_likelihood(self) -> Likelihood:
        """The likelihood with the scale and the weights of losses, but nothing else learned."""
        found = super().scaled_likelihood
        if "loss_weights" not in self._modules:
            return found
        return found.with_log_variances(self.loss_weights.log_variances)

    def hold(self, likelihood: Likelihood) -> None:
        """Take a likelihood, and what was learned of its noise."""
        super().hold(likelihood)
        self.given_likelihood = self.given_likelihood.with_log_variances(None)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in NETWORKS and isinstance(value, nn.Module):
            likelihood = self.given_likelihood
            networks = list(value) if isinstance(value, nn.ModuleList) else [value]
            for network in networks:
                name_heads(network, likelihood.heads)
            if likelihood.learned_weights:
                self._share_weights(networks, len(likelihood.learned_weights))

    def _share_weights(self, networks: list[nn.Module], count: int) -> None:
        brought = [vars(each)[_WEIGHTS] for each in networks if _WEIGHTS in vars(each)]
        # Registered after the networks, of whose weights the first tells the dtype of inputs.
        self.loss_weights = brought[0] if brought else LossWeights(count)
        for network in networks:
            vars(network)[_WEIGHTS] = self.loss_weights
