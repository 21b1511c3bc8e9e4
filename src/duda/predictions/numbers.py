"""Predictions of numbers: the contract of quantiles, intervals, densities and scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NoReturn, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, check_finite, counted
from duda.devices import on_exact_device
from duda.predictions.base import Prediction
from duda.predictions.crps import numerical_crps
from duda.predictions.terms import Bands, Terms
from duda.predictions.validity import check_scale, numbers_like, valid_tolerance

__all__ = ["NumberPrediction"]

_LEVEL = 0.95
_WIDTHS = (3, 2, 1)  # standard deviations, the widest below


class NumberPrediction(Prediction):
    """The distribution of D numbers for each of N examples.

    A family is a frozen dataclass with `mean` and `std` `(N, D, *positions)`, as fields or
    properties, and a `quantile`. What it may have beside is `cdf`, `log_prob`, `sample` and draws
    with their `components`; what it lacks is told by whoever asks for it. What it computes is
    float64, as float32 has no digits for a std that is small beside its mean.

    Attributes:
        mean: in units of the target.
        std: standard deviation, in units of the target.
        interval_levels: the central intervals that are known; None if all are.
    """

    mean: Tensor
    std: Tensor
    interval_levels: tuple[float, ...] | None = None
    score_name: ClassVar[str] = "standard deviation"
    score_unit: str = "units of the target"
    score_meaning: str = "the predicted standard deviation, in units of the target"
    loss_name: ClassVar[str] = "mean squared error"

    @abstractmethod
    def quantile(self, q: float) -> Float[Tensor, "N D *positions"]:
        """Return the value below which the target lies with probability `q`.

        Raises:
            ValueError: unless 0 < `q` < 1.
        """

    @property
    def centre(self) -> Float[Tensor, "N D *positions"]:
        """The one number to name where only one is asked for: the mean."""
        return self.mean

    @property
    def score(self) -> Float[Tensor, "N D *positions"]:
        """Uncertainty: the standard deviation, in units of the target."""
        return self.std

    @property
    def outputs(self) -> str:
        """How many numbers are predicted, in words."""
        centre = self.centre
        return counted(centre.shape[1], "output") + (" at each position" if centre.ndim > 2 else "")

    @property
    def widest_level(self) -> float:
        """The probability of the widest central interval to judge by: 0.95, or the widest known."""
        return _LEVEL if self.interval_levels is None else self.interval_levels[-1]

    def interval(
        self, level: float
    ) -> tuple[Float[Tensor, "N D *positions"], Float[Tensor, "N D *positions"]]:
        """Return the ends of the central interval that holds the target with probability `level`.

        Raises:
            ValueError: unless 0 < `level` < 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` is {level}, expected a probability between 0 and 1.")
        quantile = self._exact().quantile
        return quantile((1 - level) / 2), quantile((1 + level) / 2)

    def cdf(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the probability that the target is at most `y`, of the centre's shape."""
        self._lacks("cdf")

    def pit(
        self, y: ArrayLike, generator: torch.Generator | None = None
    ) -> Float[Tensor, "N D *positions"]:
        """Return `cdf(y)`, or in between where it jumps at `y`: for counts by drawn numbers."""
        return self.cdf(y)

    def log_prob(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the log-density at `y`, of the centre's shape, for each output; nats."""
        self._lacks("log_prob")

    def sample(self, count: int, seed: int | None = None) -> Float[Tensor, "K N D *positions"]:
        """Return `count` targets drawn for each output by itself."""
        self._lacks("sample")

    def components(self) -> Sequence[NumberPrediction]:
        """Return the prediction of each draw; itself alone where no draws were kept."""
        if self.draws is not None:
            self._lacks("components")
        return [self]

    def log_likelihoods(self, y: ArrayLike) -> Iterator[Float[Tensor, "N D *positions"]]:
        """Yield the log-density of each component at `y`, nats, for each output."""
        for component in self.components():
            yield on_exact_device(component.log_prob(y).detach()).double()

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the continuous ranked probability score at `y`, in units of the target, float64.

        Here by 400 quantiles. Source: Gneiting & Raftery 2007, eq. 21.
        """
        return numerical_crps(self._exact().quantile, self._target(y))

    def affine(self, factor: Tensor, offset: Tensor) -> NumberPrediction:
        """Return the prediction of `offset + factor * y`, in float64.

        Both are float64 on this device, and broadcast against the centre.
        """
        from duda.predictions.affine import AffinePrediction

        shape = self.centre.shape
        factor, offset = factor.expand(shape).clone(), offset.expand(shape).clone()
        return AffinePrediction(self, factor, offset).with_joint(self.joint)

    def rescaled(self, *, factor: float, offset: float = 0.0) -> Self:
        """Return the prediction of `offset + factor * y`, such as y in its own units, in float64.

        Raises:
            ValueError: unless 0 < `factor`, and both are finite.
        """
        check_scale(factor, offset)
        like = self.centre.new_empty((), dtype=torch.float64)
        return self.affine(like.new_tensor(factor), like.new_tensor(offset))  # type: ignore[return-value] # of a family of its own it is of that family

    def stretched(self, scale: Float[Tensor, "D"]) -> Self:
        """Return the prediction with its standard deviations multiplied, in float64."""
        self.check_can("mean")
        mean = self.mean.double()
        scale = scale.to(mean).view(-1, *[1] * (mean.ndim - 2))
        return self.affine(scale, (1 - scale) * mean)  # type: ignore[return-value] # as above

    def loss(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the squared errors of the centre, in squared units of the target."""
        return self._errors(y).square()

    def is_bad(
        self, y: ArrayLike, tolerance: float | None = None
    ) -> Bool[Tensor, "N D *positions"]:
        """Return where the centre is off by more than `tolerance`, in units of the target.

        Raises:
            ValueError: if the tolerance is missing or negative, or `y` does not fit.
        """
        return self._errors(y).abs() > valid_tolerance(tolerance)

    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return squared errors, negative log-densities, and which targets their 95 % hold."""
        found = {"rmse": Terms(self.loss(y), "root-mean")}
        if self.can("log_prob"):
            found["nll"] = Terms(-on_exact_device(self.log_prob(y)).double())
        return found | {"coverage": Terms(self._inside(y, _LEVEL))}

    def bands(self) -> Bands:
        """Return what to draw about a curve: 1, 2 and 3 standard deviations about the mean."""
        mean, std = self.mean.double(), self.std.double()
        return Bands(
            "mean",
            "are 1, 2 and 3 standard deviations about it",
            [(mean - width * std, mean + width * std) for width in _WIDTHS],
        )

    def can(self, ability: str) -> bool:
        """Return whether the family has this ability: a method of its own, or the attribute."""
        ability = {"pit": "cdf"}.get(ability, ability)
        if ability in ("cdf", "log_prob", "sample"):
            return getattr(type(self), ability) is not getattr(NumberPrediction, ability)
        return hasattr(self, ability)

    def check_can(self, *abilities: str, instead: str = "") -> None:
        """Raise a `TypeError` that names the first of these abilities that the family lacks.

        Args:
            abilities: such as "log_prob".
            instead: what to call where they are missing.
        """
        for ability in abilities:
            if not self.can(ability):
                self._lacks(ability, instead)

    def _lacks(self, ability: str, instead: str = "") -> NoReturn:
        quantiles = "what asks only for quantiles"
        raise TypeError(
            f"a {type(self).__name__} has no `{ability}`, which this needs: give a prediction that "
            f"has it, such as a GaussianPrediction, or call {instead or quantiles}."
        )

    def _exact(self) -> Self:
        """Return the prediction in float64, for families whose quantiles follow their dtype."""
        return self if self.centre.dtype == torch.float64 else self.to(self.device, torch.float64)

    def _target(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        return numbers_like(self.centre, y)

    def _errors(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        target = self._target(y)
        check_finite(target, "y")
        return target - on_exact_device(self.centre.detach()).double()

    def _inside(self, y: ArrayLike, level: float) -> Float[Tensor, "N D *positions"]:
        """Return 1 where the target lies in its central interval, the ends included, else 0."""
        lower, upper = self.interval(level)
        target = self._target(y)
        return ((lower <= target) & (target <= upper)).to(target)
