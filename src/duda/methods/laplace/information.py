"""Fisher information of raw outputs: how much each example says of what a network puts out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood

__all__ = ["OutputInformation", "output_information"]


class OutputInformation(NamedTuple):
    """Λ of each example, as what little it is made of: a diagonal, or diag(p) - p pᵀ.

    No matrix for each example is ever made. Rows of the latter sum to 0, from which its diagonal
    follows without the rounding of p - p², also where a network is as sure as can be.

    Args:
        values: the diagonals, or p.
        diagonal: which.
        counts: by what the latter are multiplied, if they are.
    """

    values: Float[Tensor, "N C"]
    diagonal: bool
    counts: Float[Tensor, "N"] | None = None

    @property
    def _counted(self) -> Float[Tensor, "N C"]:
        return self.values if self.counts is None else self.values * self.counts.unsqueeze(1)

    def total(self) -> Float[Tensor, "C C"]:
        """Return Σ Λ."""
        if self.diagonal:
            return self.values.sum(0).diag()
        others = (self._counted.T @ self.values).fill_diagonal_(0)
        return others.sum(1).diag() - others

    def row(self, output: int) -> Float[Tensor, "N C"]:
        """Return one row of each Λ."""
        if self.diagonal:
            row = torch.zeros_like(self.values)
            row[:, output] = self.values[:, output]
            return row
        row = -self._counted * self.values[:, [output]]
        row[:, output] = 0
        row[:, output] = -row.sum(1)
        return row


def output_information(
    likelihood: Likelihood,
    outputs: Float[Tensor, "N C"],
    y: Shaped[Tensor, "N *rest"] | None = None,
) -> OutputInformation:
    """Return the Fisher information of each example's raw outputs.

    For classes diag(p) - p pᵀ, for labels p (1 - p), times what a target counts; for Gaussians
    1 / σ² of a mean, and ½ (dσ²/ds / σ²)² of a raw scale s, which no other output has a part in.
    Sources: Martens 2020, section 9.2, for classes and labels, where it is the Hessian; the Fisher
    information of a Gaussian's mean and variance.

    >>> output_information(Categorical(), torch.zeros(3, 2)).row(0)[0]
    tensor([ 0.2500, -0.2500])
    """
    if isinstance(likelihood, Categorical):
        weights = None if y is None else likelihood.costs(outputs).curvature(y)
        return OutputInformation(outputs.softmax(1), diagonal=False, counts=weights)
    if isinstance(likelihood, Bernoulli):
        information = outputs.sigmoid() * (-outputs).sigmoid()
        counts = 1 if y is None else likelihood.counts(outputs, y)
        return OutputInformation(information * counts, diagonal=True)
    mean, variance = likelihood.moments(outputs)  # type: ignore[attr-defined]
    each = [1 / variance]
    if isinstance(likelihood, Gaussian):
        slope = outputs[:, mean.shape[1] :].sigmoid()  # of the softplus
        each.append(0.5 * (slope / variance).square())
    return OutputInformation(torch.cat(each, dim=1), diagonal=True)
