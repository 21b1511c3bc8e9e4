"""Quantile likelihood: raw outputs are some quantiles, and the loss asks for nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.base import Reduction
from duda.likelihoods.numbers import NumberLikelihood
from duda.likelihoods.outputs import in_groups, outputs_first
from duda.likelihoods.running import RunningMoments
from duda.predictions import Prediction
from duda.predictions.mixture import mixture_of_normals, mixture_quantile, quantile_at
from duda.predictions.quantiles import QuantilePrediction, check_levels
from duda.transfer import sent

__all__ = ["Quantiles"]


@dataclass(frozen=True)
class Quantiles(NumberLikelihood):
    """Q D raw outputs on dimension 1: D quantiles at the first level, then D at the second, ...

    The loss is the pinball loss, in units of the outputs. Quantiles that cross are sorted when they
    are reduced, which never increases it (Chernozhukov et al. 2010). Source: Koenker & Bassett
    1978.

    Args:
        levels: ascending probabilities, some below 0.5 and some above.

    >>> Quantiles((0.1, 0.9)).loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5]]))
    tensor(0.1000)
    """

    levels: tuple[float, ...] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "levels", tuple(float(level) for level in self.levels))
        check_levels(self.levels)

    @property
    def weighable(self) -> bool:
        """Whether its weight among others can be learned: the loss is no density's."""
        return True

    def width(self, targets: int) -> int:
        """Return Q D: a number for each level and target."""
        return len(self.levels) * targets

    def quantiles(self, outputs: Tensor, dim: int = 1) -> Tensor:
        """Return the outputs with `dim` split into levels and targets, Q and D."""
        count, outputs = len(self.levels), outputs_first(outputs, self.output_dim, dim)
        return in_groups(outputs, count, dim, f"each of the {count} levels")

    def check_targets(
        self, outputs: Float[Tensor, "N Q*D *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> None:
        """Raise a `ValueError` unless `y` is finite and has the shape of one level's quantiles."""
        self.check_beside(y, self.quantiles(outputs)[:, 0], "the predicted median")

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N Q*D *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return max(τ u, (τ - 1) u), u = y - q, summed over levels and outputs, then averaged."""
        quantiles = self.quantiles(at_least_float32(outputs))
        levels = sent(torch.tensor(self.levels, dtype=quantiles.dtype), quantiles.device)
        levels = levels.view(-1, *[1] * (quantiles.ndim - 2))
        above = self.beside(y, quantiles[:, 0]).unsqueeze(1) - quantiles
        each = torch.maximum(levels * above, (levels - 1) * above)
        return self.averaged(each.sum(1), y, in_units=False)

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return the pinball loss of the quantiles."""
        target = self.filled(self.placed(y, tuple(prediction.centre.shape)))  # type: ignore[attr-defined]
        each: Tensor = prediction.pinball(target)  # type: ignore[attr-defined] # of this family
        if self.target_scale is not None:
            each = each / self.target_scale.beside(each, dim=2)[0]
        return self.averaged(each.sum(1), y, in_units=False)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of quantiles."""
        return _QuantileReduction(self, keep_draws)


class _QuantileReduction(Reduction):
    """Streams the mean of the sorted quantiles, and the variance of the median, in float64."""

    def __init__(self, likelihood: Quantiles, keep_draws: bool) -> None:
        self.likelihood = likelihood
        self.kept: list[Tensor] | None = [] if keep_draws else None
        self.quantiles, self.medians = RunningMoments(), RunningMoments()

    def add(self, draws: Float[Tensor, "M N Q*D *positions"]) -> None:
        """Take in M more draws of quantiles, each sorted by itself."""
        self.check_draws(draws)
        quantiles = self.likelihood.quantiles(at_least_float32(draws), dim=2).sort(dim=2).values
        self.dtype = quantiles.dtype
        self.quantiles.add(quantiles)
        self.medians.add(quantile_at(quantiles, self.likelihood.levels, 0.5, dim=2))
        if self.kept is not None:
            self.kept.append(quantiles)

    def result(self) -> QuantilePrediction:
        """Return the mixture of all draws so far: of those that were kept exactly."""
        if self.medians.count == 0:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        levels = torch.tensor(self.likelihood.levels, dtype=torch.float64)  # read by the host
        epistemic = self.medians.variance
        if self.kept is None:
            draws, quantiles = None, mixture_of_normals(self.quantiles.mean, levels, epistemic)
        else:
            draws = torch.cat(self.kept)
            each = [mixture_quantile(draws, levels, level) for level in self.likelihood.levels]
            quantiles = torch.stack(each, dim=1)
        # Rounding may cross quantiles that are equal.
        quantiles = quantiles.cummax(dim=1).values.to(self.dtype)
        prediction = QuantilePrediction(quantiles, levels, epistemic.to(self.dtype), draws)
        return self.likelihood.in_target_units(prediction)
