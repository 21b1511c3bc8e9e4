"""Evidence: the prior precision and the noise with the greatest marginal likelihood."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["best_noise", "best_precision"]

_ITERATIONS, _NEAR = 1000, 1e-10  # for the noise
_HALVINGS = 100  # of an interval of logarithms, down to the last digits


def best_precision(
    eigenvalues: Float[Tensor, "P"], squared_norm: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Return the δ with the greatest marginal likelihood: that with δ |θ*|² = Σ λ / (λ + δ).

    The left side grows with δ and the right one falls, so that there is one such δ, between what
    the right side's bounds give. Source: MacKay 1992, "Bayesian interpolation": 2 α E_W = γ.
    """

    def determined(precision: Tensor) -> Tensor:
        return (eigenvalues / (eigenvalues + precision)).sum()

    high = (eigenvalues > 0).sum() / squared_norm
    low = determined(high) / squared_norm
    if not (low > 0 and high.isfinite()):
        raise ValueError(
            "`prior_precision` cannot be chosen by the marginal likelihood, because the last "
            "layer's weights are all 0, or the outputs beyond doubt for all training examples: "
            "give one."
        )
    low, high = low.log(), high.log()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = middle.exp() * squared_norm < determined(middle.exp())
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high.exp()


def best_noise(
    eigenvalues: Float[Tensor, "P"],
    squared_norm: Float[Tensor, ""],
    squares: Float[Tensor, ""],
    numbers: int,
    precision: float | None = None,
) -> Float[Tensor, ""]:
    """Return the variance of the noise with the greatest marginal likelihood, together with δ.

    It is the sum of the squared errors by the targets less the weights that these determine, found
    by iteration. Source: MacKay 1992, "Bayesian interpolation": 2 β E_D = N - γ.

    Args:
        eigenvalues: of H with noise 1.
        squared_norm: of the weights.
        squares: the sum of the squared errors.
        numbers: of the targets, N.
        precision: δ, if it is given.
    """
    if not squares > 0:
        raise ValueError(
            "`noise_std` cannot be learned, because the network fits all targets exactly: give "
            "`duda.FixedGaussian(noise_std=...)`."
        )
    variance = squares / numbers
    for _ in range(_ITERATIONS):
        values = eigenvalues / variance
        delta = best_precision(values, squared_norm) if precision is None else precision
        determined = (values / (values + delta)).sum()
        before, variance = variance, squares / (numbers - determined)
        if bool((variance / before - 1).abs() < _NEAR):
            break
    return variance
