"""Mean and variance of numbers: the base of these likelihoods, and the reduction of draws."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.base import Reduction
from duda.likelihoods.numbers import NumberLikelihood
from duda.likelihoods.outputs import outputs_first
from duda.likelihoods.running import RunningMoments
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.location_scale import LocationScalePrediction

__all__ = ["MomentLikelihood", "MomentReduction", "split_outputs"]


@dataclass(frozen=True)
class MomentLikelihood(NumberLikelihood):
    """What these likelihoods share: a prediction follows from mean and variance of each draw.

    Attributes:
        prediction: the kind of prediction that the draws make.
    """

    prediction: ClassVar[type[LocationScalePrediction]] = GaussianPrediction

    def split(self, outputs: Tensor, dim: int, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Return as many equal parts of outputs as there are names, each with D entries on `dim`.

        Raises:
            ValueError: if the network put out another number of them.
        """
        return split_outputs(outputs_first(outputs, self.output_dim, dim), dim, names)

    @abstractmethod
    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each with D entries along `dim`."""

    def check_targets(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> None:
        """Raise a `ValueError` unless `y` is finite and has the shape of the predicted mean."""
        mean, _ = self.moments(outputs)
        self.check_beside(y, mean, "the predicted mean")

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return MomentReduction(self, keep_draws)


class MomentReduction(Reduction):
    """Streams the mixture's moments in float64."""

    def __init__(self, likelihood: MomentLikelihood, keep_draws: bool) -> None:
        self.likelihood = likelihood
        self.kept: list[Tensor] | None = [] if keep_draws else None
        self.means = RunningMoments()

    def split(self, draws: Tensor) -> tuple[Tensor, ...]:
        """Return each draw's mean, its variance, and if it doubts its mean how far (a variance)."""
        return self.likelihood.moments(draws, dim=2)

    def add(self, draws: Float[Tensor, "M N outputs *positions"]) -> None:
        """Take in M more draws of raw outputs."""
        self.check_draws(draws)
        means, *parts = self.split(at_least_float32(draws))
        if self.kept is not None:
            self.kept.append(torch.cat([means, reduce(torch.add, parts)], dim=2))
        sums = [values.sum(0, dtype=torch.float64) for values in parts]
        if self.means.count == 0:
            self.dtype, self.sums = means.dtype, sums
        else:
            self.sums = [before + new for before, new in zip(self.sums, sums, strict=True)]
        self.means.add(means)

    def moments(self) -> dict[str, Any]:
        """Return mean and parts of the variance of all draws so far, and the draws if kept."""
        count = self.means.count
        if count == 0:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        aleatoric, *doubt = (total / count for total in self.sums)
        return {
            "mean": self.means.mean.to(self.dtype),
            "aleatoric": aleatoric.to(self.dtype),
            "epistemic": reduce(torch.add, doubt, self.means.variance).to(self.dtype),
            "draws": None if self.kept is None else torch.cat(self.kept),
        }

    def result(self) -> LocationScalePrediction:
        """Return the mixture of all draws so far."""
        return self.likelihood.in_target_units(self.likelihood.prediction(**self.moments()))


def split_outputs(outputs: Tensor, dim: int, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return as many equal parts of `outputs` along `dim` as there are names.

    Raises:
        ValueError: if the network put out another number of them.
    """
    parts = len(names)
    if outputs.ndim <= dim or outputs.shape[dim] % parts:
        raise ValueError(
            f"the network's outputs have shape {tuple(outputs.shape)}, expected {parts} D numbers "
            f"on dimension {dim}: {', then '.join(f'D {name}' for name in names)}."
        )
    return outputs.chunk(parts, dim=dim)
