"""Beta-NLL: a Gaussian likelihood that trains the mean also where the variance is large."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.gaussian import Gaussian, minus_log_density

__all__ = ["BetaGaussian"]


@dataclass(frozen=True)
class BetaGaussian(Gaussian):
    """A `Gaussian` whose loss weighs each term by variance^beta, a weight that gets no gradient.

    The plain loss hardly trains the mean where the variance is large; with `beta` 1 the mean is
    trained as by the squared error, with 0 as by the plain loss. The loss is no -log p, and its
    value is not to be compared with one. Source: Seitzer et al. 2022, section 4.

    Args:
        floor: the least variance, in squared units of the outputs.
        beta: from 0 to 1.

    >>> import torch
    >>> BetaGaussian(beta=0.0).loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.9189)
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta <= 1:
            raise ValueError(f"`beta` is {self.beta}, expected a number from 0 to 1.")

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return the weighted terms, summed over the D outputs, then averaged."""
        mean, variance = self.moments(at_least_float32(outputs))
        each = minus_log_density(self.beside(y, mean), mean, variance)
        return self.averaged(variance.detach() ** self.beta * each, y, in_units=False)
