"""BatchEnsemble: members that share their weights but for two vectors in each layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from duda.batches import Batch, each_input
from duda.likelihoods import Likelihood
from duda.methods.base import check_count, check_network
from duda.methods.ensemble import Ensemble
from duda.sampling import LayerChoice, MemberVectors, RankOneWeights, random_draws, weight_layers

__all__ = ["BatchEnsemble"]


class BatchEnsemble(Ensemble):
    """Members with weights W ∘ s rᵀ: one W for all, the vectors r and s and a bias for each.

    They start from random signs in r and s, so that none of them is the network as it was given.
    In training every example goes through every member, as one batch that is `members` times as
    large, over which BatchNorm takes its statistics. Source: Wen et al. 2020, eq. 2 to 5.

    Args:
        network: any module with linear or convolutional layers.
        likelihood: what its raw outputs mean.
        members: how many.
        layers: which layers have vectors, as in `duda.sampling.weight_layers`; by default all that
            are linear or convolutional. What comes before the first of them runs once.

    >>> import duda, torch
    >>> model = duda.BatchEnsemble(torch.nn.Linear(10, 3), duda.Categorical(), members=4)
    >>> sum(weight.numel() for weight in model.parameters())  # 33, and 4 times 10 + 3 + 3
    97
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        members: int = 4,
        layers: LayerChoice = None,
    ) -> None:
        super().__init__(likelihood, check_count(members, "members"))
        self.network = check_network(network)
        self._vectors = {
            name: _vectors(layer, members) for name, layer in _chosen(network, layers).items()
        }
        self.vectors = nn.ModuleList(self._vectors.values())

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of a member drawn at random."""
        return self._outputs(x, torch.randint(self.size, ()))

    def loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return the mean of -log p(y | x) over examples and members, in nats."""
        members = torch.arange(self.size).repeat_interleave(len(y))
        return self.likelihood.loss(
            self._outputs(each_input(x, self._for_each), members), self._for_each(y)
        )

    def draws(self, x: Batch, samples: int, chunk: int | None) -> Iterator[Tensor]:
        """Yield the outputs of the first `samples` members, some at a time."""
        self.check_members(samples)
        return random_draws(self.network, x, samples, chunk, self._weights)

    def _weights(self) -> RankOneWeights:
        return RankOneWeights(self.network, self._vectors)

    def _outputs(self, x: Batch, members: Tensor) -> Tensor:
        """Return raw outputs by one member, or by one for each example."""
        mode = self._weights()
        mode.draw = members.to(next(self.vectors.parameters()).device)
        with mode:
            return mode.call(self.network, x)

    def _for_each(self, values: Tensor) -> Tensor:
        """Return the examples, once for each member."""
        return values.repeat(self.size, *[1] * (values.ndim - 1))


def _chosen(network: nn.Module, layers: LayerChoice) -> dict[str, nn.Linear | _ConvNd]:
    """Return the layers to give vectors to, by the names of their weights, each weight once."""
    chosen: dict[str, nn.Linear | _ConvNd] = {}
    others = []
    seen: set[int] = set()
    for name, layer in weight_layers(network, layers).items():
        if not isinstance(layer, nn.Linear | _ConvNd) or "weight" not in layer._parameters:
            others.append(f"{name!r} ({type(layer).__name__})")
        elif id(layer.weight) not in seen:
            seen.add(id(layer.weight))
            chosen[f"{name}.weight" if name else "weight"] = layer
    if not chosen or (others and layers is not None):
        raise ValueError(
            f"BatchEnsemble cannot use {', '.join(others)}: expected linear or convolutional "
            "layers, which alone have an input and an output vector for each member."
        )
    return chosen


def _vectors(layer: nn.Linear | _ConvNd, members: int) -> MemberVectors:
    if isinstance(layer, nn.Linear):
        channels = layer.in_features, layer.out_features
    else:
        channels = layer.in_channels, layer.out_channels
    return MemberVectors(members, *channels, layer.weight, bias=layer.bias is not None)
