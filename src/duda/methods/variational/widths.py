"""Widths by layer: inputs of a weight, and the standard deviations that weights start with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from duda.sampling import weights_of

__all__ = ["RandomWeight", "random_weights"]

_LEAST = 1e-3  # of a standard deviation in units of a weight that is 0


@dataclass(frozen=True)
class RandomWeight:
    """A weight of a layer that is to be random.

    Attributes:
        weight: the network's own.
        inputs: how many of the layer's inputs go into an output; of a bias 1.
        width: the 1 / √inputs that is the unit of a matrix, for a bias the least of its layer's.
    """

    weight: nn.Parameter
    inputs: float
    width: float

    def raw_std(self, std: float, *, relative: bool) -> nn.Parameter:
        """Return the ρ of which softplus is the standard deviation to start with.

        Args:
            std: in units of `width`.
            relative: whether it is in units of each entry's size instead.
        """
        widths = torch.full_like(self.weight, self.width)
        if relative:
            widths = self.weight.detach().abs().clamp(min=_LEAST * self.width)
        exact = std * widths.double()
        return nn.Parameter((exact + (-(-exact).expm1()).log()).to(self.weight.dtype))


def random_weights(layers: dict[str, nn.Module]) -> dict[str, RandomWeight]:
    """Return each weight that is trained by its name, of those with several names the first.

    Raises:
        ValueError: if all weights are frozen.
    """
    found: dict[str, RandomWeight] = {}
    seen: set[int] = set()
    for name, layer in layers.items():
        weights = weights_of(layer, name, bias=True)
        matrices = {full: _inputs(layer, each) for full, each in weights.items() if each.ndim > 1}
        most = max(matrices.values())
        for full, weight in weights.items():
            if id(weight) in seen or not weight.requires_grad:
                continue
            seen.add(id(weight))
            unit = 1 / math.sqrt(matrices.get(full, most))
            found[full] = RandomWeight(weight, matrices.get(full, 1.0), unit)
    if not found:
        raise ValueError(
            "the layers' weights are all frozen, expected some to train: call "
            "`requires_grad_()` on these layers, or choose others by `layers`."
        )
    return found


def _inputs(layer: nn.Module, matrix: Tensor) -> float:
    """Return how many inputs go into an output of the layer by this matrix.

    >>> _inputs(nn.ConvTranspose1d(8, 2, 4, stride=2), torch.zeros(8, 2, 4))
    16.0
    """
    if isinstance(layer, _ConvTransposeNd):  # whose first dimension is the inputs'
        places = math.prod(layer.kernel_size) / math.prod(layer.stride)
        return max(1.0, layer.in_channels / layer.groups * places)
    return float(matrix[0].numel())
