"""Gaussian likelihood with one standard deviation: raw outputs are means."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.gaussian import AnyGaussian
from duda.likelihoods.outputs import outputs_first

__all__ = ["FixedGaussian"]


@dataclass(frozen=True)
class FixedGaussian(AnyGaussian):
    """D raw outputs on dimension 1, the means; the noise has one standard deviation.

    If that is not given, the model learns it in training: that with the greatest likelihood of the
    training data, in `Laplace` that with the greatest marginal likelihood. Until then it is 1.

    Args:
        noise_std: standard deviation of the noise, in units of the target.
        learned_std: what a model has learned, in units of the outputs; it fills it in by itself.

    >>> import torch
    >>> FixedGaussian(noise_std=1.0).loss(torch.zeros(1, 1), torch.zeros(1, 1))
    tensor(0.9189)
    """

    noise_std: float | None = None
    learned_std: float | Tensor | None = field(
        default=None, repr=False, compare=False, kw_only=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise_std", "learned_std"):
            std = getattr(self, name)
            # A tensor is the model's own, and reading it would be a wait.
            if std is not None and not isinstance(std, Tensor) and not 0 < std < math.inf:
                raise ValueError(f"`{name}` is {std}, expected a number above 0.")

    @property
    def learns_noise(self) -> bool:
        """Whether the noise was not given."""
        return self.noise_std is None

    def noise(self) -> Tensor:
        """Return the standard deviation that is given or learned, for each target if they differ.

        It is in units of the target, float64.
        """
        if self.noise_std is not None or self.target_scale is None:
            return torch.as_tensor(self._std(), dtype=torch.float64)
        return self._std() * self.target_scale.std

    def _std(self) -> float | Tensor:
        """Return the standard deviation in the units that it was given or learned in."""
        known = self.learned_std if self.noise_std is None else self.noise_std
        return 1.0 if known is None else known

    def with_noise(self, std: float | Tensor | None) -> FixedGaussian:
        """Return the likelihood with a standard deviation that was learned, or with none."""
        return replace(self, learned_std=std)

    def squared_error(
        self, outputs: Float[Tensor, "N D *positions"], y: Float[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return the mean of (y - μ)²."""
        mean, _ = self.moments(at_least_float32(outputs))
        errors = (self.beside(y, mean) - mean).square()
        if self.missing is None:
            return errors.mean()
        return errors.sum() / torch.as_tensor(self.numbers_in(y)).clamp(min=1)

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
        std = self._std()
        if self.noise_std is not None and self.target_scale is not None:
            std = std / self.target_scale.beside(outputs, dim)[0]
        variance = std**2
        if isinstance(variance, Tensor):
            variance = variance.to(outputs)
        return outputs, torch.zeros_like(outputs) + variance
