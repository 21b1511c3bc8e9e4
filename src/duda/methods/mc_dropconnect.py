"""MC-DropConnect: masks on weights instead of on what flows between them."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode

from duda.batches import Batch, each_input
from duda.checks import plain_number
from duda.likelihoods import Likelihood
from duda.methods.base import UncertainModel, check_network
from duda.methods.sampler import Sampler, network_sampler
from duda.sampling import (
    DrawnWeights,
    LayerChoice,
    fast_in_vmap,
    new_seed,
    preserved,
    raw_outputs,
    swapped_weights,
    weight_layers,
    weights_of,
)

__all__ = ["MCDropConnect"]


class MCDropConnect(UncertainModel):
    """A network whose weights are zeroed with probability `p`, by one mask a draw.

    All examples share the mask of a draw. What is kept is divided by 1 - p. Sources: Wan
    et al. 2013; Mobiny et al. 2021; `deterministic_layers` is Kamath et al. 2020, "Know where to
    drop your weights".

    Args:
        network: any module with linear, convolutional, embedding, recurrent or attention layers.
        likelihood: what its raw outputs mean.
        p: the probability to drop a weight.
        deterministic_layers: how many layers, in the order of the forward pass, keep their weights;
            they run once for all draws.
        samples: number of draws.
        layers: which layers to mask, as in `duda.sampling.weight_layers`; all by default.
        bias: whether to mask biases too.

    >>> import duda, torch
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 3))
    >>> model = duda.MCDropConnect(network, duda.Categorical(), deterministic_layers=1)
    >>> bool((model.predict(torch.ones(4, 2), seed=0).epistemic > 0).all())
    True
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        p: float = 0.1,
        deterministic_layers: int = 0,
        samples: int = 50,
        *,
        layers: LayerChoice = None,
        bias: bool = False,
    ) -> None:
        super().__init__(likelihood, samples)
        self.network = check_network(network)
        if not 0 <= p < 1:
            raise ValueError(f"`p` is {p}, expected a probability of at least 0 and below 1.")
        self.p = p
        self.layers, self.bias = layers, bias
        self._layers = weight_layers(network, layers)
        self.deterministic_layers = _check_layers(deterministic_layers, len(self._layers))
        # Which layers are first is known from the first batch on; without any it does not matter.
        weights = self._weights(list(self._layers))
        self._masked = None if self.deterministic_layers else weights

    def forward(self, x: Batch) -> Tensor:
        """Return one draw of raw outputs, in training and in eval mode."""
        names = self._names(x)
        with swapped_weights(self.network, self._drop(names)):
            return raw_outputs(self.network, x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what makes draws, which share all that comes before the first masked layer."""
        return network_sampler(
            self.network,
            samples,
            self._masks,
            seed=new_seed(),
            shared=joint,
            joint=True,
            vmapped=lambda x: fast_in_vmap(self.network, self._names(x), x),
        )

    def _masks(self, x: Batch) -> Callable[[], DrawnWeights]:
        """Return what makes the masks of a pass for such a batch."""
        names = self._names(x)
        return lambda: DrawnWeights(self.network, lambda _: self._drop(names), names)

    def _drop(self, names: list[str]) -> dict[str, Tensor]:
        """Return the weights with these names, masked."""
        weights = dict(self.network.named_parameters(remove_duplicate=False))
        return {name: F.dropout(weights[name], self.p) for name in names}

    def _names(self, x: Batch) -> list[str]:
        """Return the names of the weights to mask."""
        if self._masked is None:
            order = _forward_order(self, self.network, self._layers, x)
            self._masked = self._weights(order[self.deterministic_layers :])
        return self._masked

    def _weights(self, layers: list[str]) -> list[str]:
        return [name for each in layers for name in weights_of(self._layers[each], each, self.bias)]


def _forward_order(
    model: nn.Module, network: nn.Module, layers: dict[str, nn.Module], x: Batch
) -> list[str]:
    """Return the layers in the order in which a forward pass calls them, those it skips last."""
    order: list[str] = []

    def note(name: str) -> None:
        if name not in order:
            order.append(name)

    handles = [
        layer.register_forward_pre_hook(lambda _, __, name=name: note(name))
        for name, layer in layers.items()
    ]
    try:
        # While a mode is active, a transformer's fused path does not skip its layers.
        with preserved(model, seed=0), BaseTorchFunctionMode():
            raw_outputs(network, each_input(x, lambda values: values[:1]))
    finally:
        for handle in handles:
            handle.remove()
    return [*order, *(name for name in layers if name not in order)]


def _check_layers(count: int, layers: int) -> int:
    whole = plain_number(count)
    if not isinstance(whole, int) or not 0 <= whole < layers:
        raise ValueError(
            f"`deterministic_layers` is {count!r}, expected 0 to {layers - 1}: the network has "
            f"{layers} layers to choose from, and at least one must be masked."
        )
    return whole
