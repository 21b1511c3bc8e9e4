"""Laws of numbers by their parameters: the base of these likelihoods; draws make true mixtures."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.base import Reduction
from duda.likelihoods.moments import split_outputs
from duda.likelihoods.numbers import NumberLikelihood
from duda.likelihoods.outputs import outputs_first
from duda.predictions import NumberPrediction
from duda.predictions.members import MembersPrediction

__all__ = ["DrawnLikelihood", "DrawnReduction"]


@dataclass(frozen=True)
class DrawnLikelihood(NumberLikelihood):
    """What these likelihoods share: outputs are parameters of a law, and the draws its mixture.

    The law, its density too, is that of the prediction. As this is a true mixture, it holds the
    parameters of all draws, whether these are to be kept or not, and grows with their number.

    Attributes:
        prediction: the kind of prediction that the draws make.
        names: what a network puts out for each target, in this order.
    """

    prediction: ClassVar[type[MembersPrediction]]
    names: ClassVar[tuple[str, ...]]

    @abstractmethod
    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return the law's parameters from raw outputs, one of the `names` each."""

    @property
    def put_out(self) -> tuple[str, ...]:
        """The `names` of what is not given."""
        return self.names

    def width(self, targets: int) -> int:
        """Return how many raw outputs the network needs: one of each name for each target."""
        return len(self.put_out) * targets

    def parameters(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
        """Return the law's parameters, each with D entries along `dim`.

        Raises:
            ValueError: if the network put out another number of them.
        """
        outputs = outputs_first(at_least_float32(outputs), self.output_dim, dim)
        return self.law(*split_outputs(outputs, dim, self.put_out))

    def check_targets(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> None:
        """Raise a `ValueError` unless `y` is in the law's support, and has the predicted shape."""
        self.check_beside(y, self.parameters(outputs)[0], "the predicted mean")

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return -log p(y), summed over the D outputs, then averaged."""
        parameters = self.parameters(outputs)
        target = self.beside(y, parameters[0])
        each = -self.prediction.member_log_prob(target, *parameters)
        return self.averaged(each, y)

    def told(self, draws: Float[Tensor, "M N K*D *positions"]) -> NumberPrediction:
        """Return the prediction of parameters, in units of the target."""
        return self.in_target_units(self.prediction(draws))  # type: ignore[call-arg] # mostly a DrawnPrediction

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return DrawnReduction(self)


class DrawnReduction(Reduction):
    """Keeps the parameters of the draws: a mixture is told by nothing less."""

    def __init__(self, likelihood: DrawnLikelihood) -> None:
        self.likelihood = likelihood
        self.kept: list[Tensor] = []

    def add(self, draws: Float[Tensor, "M N outputs *positions"]) -> None:
        """Take in M more draws of raw outputs."""
        self.check_draws(draws)
        self.kept.append(torch.cat(self.likelihood.parameters(draws, dim=2), dim=2))

    def result(self) -> NumberPrediction:
        """Return the mixture of all draws so far."""
        if not self.kept:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        return self.likelihood.told(torch.cat(self.kept))
