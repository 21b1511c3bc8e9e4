"""Recalibration of numbers: of standard deviations, and of whole distributions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, check_share, seeded
from duda.decisions.numbers import by_output, check_spread, targets
from duda.decisions.recalibration.base import Answer, Recalibration
from duda.decisions.recalibration.knots import check_knots
from duda.devices import exact_device
from duda.fitted import check_that
from duda.predictions import NumberPrediction, QuantilePrediction
from duda.predictions.given import NumbersGiven, number_prediction
from duda.predictions.quantiles import check_levels

__all__ = ["NumberRecalibration", "QuantileRecalibration", "StdScale"]


@dataclass(eq=False)
class NumberRecalibration(Recalibration[Answer]):
    """Maps the distribution of a number to a better one, for each of D outputs by itself."""

    outputs: int = field(init=False, repr=False)

    def _check_outputs(self, count: int, name: str) -> None:
        """Raise a `ValueError` unless something was learned for each output."""
        if count != self.outputs:
            raise ValueError(f"its `{name}` is of {count} outputs, expected {self.outputs}.")

    @abstractmethod
    def _learn(
        self,
        prediction: NumberPrediction,
        y: Float[Tensor, "N D *positions"],
        kept: Bool[Tensor, "N D *positions"],
    ) -> None:
        """Fill the learned fields but `outputs`, from the targets that count."""

    @abstractmethod
    def _map(self, prediction: NumberPrediction) -> Answer:
        """Return the recalibrated prediction."""

    def fit(
        self,
        mean: NumbersGiven,
        y: ArrayLike | None = None,
        *,
        std: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Self:
        """Learn from held-out examples, and return itself.

        Args:
            mean: a prediction of numbers, or means `(N)` or `(N, D, *positions)`.
            y: targets, of the shape of the means.
            std: standard deviations, beside means.
            mask: of the shape of `y`: which targets count. Where it is False `y` may be NaN.

        Raises:
            TypeError: if the prediction lacks what this learns from.
            ValueError: if shapes differ, there are no examples, NaN, or a std that is not above 0.
        """
        prediction, shape = number_prediction(mean, std)
        check_spread(prediction)
        whole = prediction.centre.shape
        place = exact_device(prediction.device)
        y, kept = (each.reshape(whole) for each in targets(y, shape, mask, place))
        self._learn(prediction.to(place, torch.float64), y, kept)
        self.outputs = whole[1]
        return self

    def __call__(self, mean: NumbersGiven, /, *, std: ArrayLike | None = None) -> Answer:
        """Return the recalibrated prediction, for means `(N)` one with a single output.

        Raises:
            ValueError: before `fit`, or if there are not as many outputs as in `fit`.
        """
        self.check_fitted()
        prediction, _ = number_prediction(mean, std)
        if prediction.centre.shape[1] != self.outputs:
            raise ValueError(
                f"the predictions have {prediction.centre.shape[1]} outputs, expected "
                f"{self.outputs}, as `fit` saw: give both from the same network."
            )
        return self._map(prediction.to(exact_device(prediction.device), torch.float64))


@dataclass(eq=False)
class StdScale(NumberRecalibration[NumberPrediction]):
    """Multiplies standard deviations by s = √(mean of ((y - mean) / std)²), one for each output.

    Squared errors are then as large as the variances say; for Gaussians s is the one of the highest
    likelihood. Distributions are stretched about their means, both parts of the variance by s².
    Source: Laves et al. 2020; Levi et al. 2022.

    Attributes:
        scale: `(D)`, above 1 where the model was too sure.

    >>> scaling = StdScale().fit([0.0, 0.0], [2.0, -2.0], std=[1.0, 1.0])
    >>> scaling([5.0], std=[3.0]).std
    tensor([[6.]], dtype=torch.float64)
    """

    scale: Float[Tensor, "D"] = field(init=False, repr=False)

    def check_learned(self) -> None:
        """Raise a `ValueError` unless there is a finite scale above 0 for each output."""
        super().check_learned()
        self._check_outputs(len(self.scale), "scale")
        lowest = float(self.scale.min())
        check_that(lowest > 0, f"`scale` is {lowest:.4g}, expected it above 0")

    def _learn(self, prediction: NumberPrediction, y: Tensor, kept: Tensor) -> None:
        prediction.check_can("mean", "std", "affine", instead="`QuantileRecalibration`")
        z = (y - prediction.mean) / prediction.std
        squares = torch.stack([column.mean() for column in by_output(z.square(), kept)])
        if bool((squares == 0).any()):
            raise ValueError(
                f"`y` equals the mean in all examples of output {int((squares == 0).nonzero()[0])},"
                " expected some errors: no scale describes none."
            )
        self.scale = squares.sqrt().cpu()

    def _map(self, prediction: NumberPrediction) -> NumberPrediction:
        return prediction.stretched(self.scale)


@dataclass(eq=False)
class QuantileRecalibration(NumberRecalibration[QuantilePrediction]):
    """Moves each quantile to the level below which that share of held-out targets lay.

    The map from level to share is isotonic: it joins the n sorted values of the predicted cdf at
    the targets, at shares i / (n + 1) in place of the source's i / n so that both tails are treated
    alike, and equal values at the mean of theirs. What comes out has no density, hence it is given
    by its quantiles; its `epistemic` stays what it was. Source: Kuleshov et al. 2018, algorithm 1.

    Args:
        levels: of the quantiles to return, ascending, on both sides of 0.5.

    Attributes:
        knots: `(K, 3)`, each the output it belongs to, a predicted level and the share below it.

    >>> scaling = QuantileRecalibration([0.25, 0.5, 0.75])
    >>> scaling = scaling.fit([0.0, 0.0, 0.0], [-2.0, 0.0, 2.0], std=[1.0, 1.0, 1.0])
    >>> scaling([5.0], std=[3.0]).quantiles.flatten()
    tensor([-1.,  5., 11.], dtype=torch.float64)
    """

    levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)
    knots: Float[Tensor, "R 3"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        levels = tuple(check_share(level, "levels") for level in self.levels)
        check_levels(levels)
        if not isinstance(self.levels, tuple) or self.levels != levels:
            self.levels = levels  # else the very object, as clones of scikit-learn ask for

    def check_learned(self) -> None:
        """Raise a `ValueError` unless there are finite knots for each output."""
        super().check_learned()
        self._check_outputs(len(set(self.knots[:, 0].tolist())), "knots")
        check_knots(self.knots)

    def _learn(self, prediction: NumberPrediction, y: Tensor, kept: Tensor) -> None:
        knots = [
            torch.stack([torch.full_like(levels, output), levels, shares], 1)
            for output, column in enumerate(by_output(prediction.pit(y, seeded(0)), kept))
            for levels, shares in [_shares_below(column)]
        ]
        self.knots = torch.cat(knots).cpu()

    def _map(self, prediction: NumberPrediction) -> QuantilePrediction:
        quantiles = [
            torch.stack([prediction.quantile(level)[:, output] for level in self._moved(output)], 1)
            for output in range(self.outputs)
        ]
        levels = torch.tensor(self.levels, dtype=torch.float64).to(prediction.device)
        parts = prediction.parts()
        moved = QuantilePrediction(torch.stack(quantiles, 2), levels)
        return moved if parts is None else replace(moved, epistemic=parts.epistemic.square())

    def _moved(self, output: int) -> list[float]:
        """Return the predicted levels of which the shares are those asked for."""
        _, levels, shares = self.knots[self.knots[:, 0] == output].numpy().T
        moved: list[float] = np.interp(self.levels, shares, levels).tolist()
        for wanted, level in zip(self.levels, moved, strict=True):
            if not 0 < level < 1:
                raise ValueError(
                    f"`levels` asks for {wanted}, but so many held-out targets lie where the "
                    f"predicted cdf is exactly {level:g} that no quantile there is finite: ask for "
                    "levels nearer to 0.5, or widen the predictions by `StdScale` first."
                )
        return moved


def _shares_below(pit: Float[Tensor, "K"]) -> tuple[Float[Tensor, "R"], Float[Tensor, "R"]]:
    """Return ascending levels of the predicted cdf from 0 to 1, and the shares of targets below."""
    levels, counts = torch.unique(pit, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1).double() / 2
    shares = ranks / (len(pit) + 1)
    ends = levels.new_zeros(int(levels[0] > 0)), levels.new_ones(int(levels[-1] < 1))
    below, above = ends
    return torch.cat([below, levels, above]), torch.cat([below, shares, above])
