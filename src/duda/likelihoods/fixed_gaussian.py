"""Gaussian likelihood with a known standard deviation: raw outputs are means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from duda.likelihoods.gaussian import AnyGaussian
from duda.likelihoods.outputs import outputs_first

__all__ = ["FixedGaussian"]


@dataclass(frozen=True)
class FixedGaussian(AnyGaussian):
    """D raw outputs on dimension 1, the means; the noise has one known standard deviation.

    Args:
        noise_std: standard deviation of the noise, in units of the target.

    >>> import torch
    >>> FixedGaussian(noise_std=1.0).loss(torch.zeros(1, 1), torch.zeros(1, 1))
    tensor(0.9189)
    """

    noise_std: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.noise_std < math.inf:
            raise ValueError(f"`noise_std` is {self.noise_std}, expected a number above 0.")

    def width(self, targets: int) -> int:
        """Return D: a mean for each target."""
        return targets

    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each with D entries along `dim`."""
        outputs = outputs_first(outputs, self.output_dim, dim)
        if outputs.ndim <= dim:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected D means on "
                f"dimension {dim}: for one output end the network in `nn.Linear(..., 1)`."
            )
        return outputs, torch.full_like(outputs, self.noise_std**2)
