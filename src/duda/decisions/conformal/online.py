"""Online conformal prediction of series: intervals that adapt as targets become known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_above_0, check_count, check_share, nearest
from duda.decisions.conformal.guess import Guess, NumberScore, guessed
from duda.decisions.conformal.intervals import PredictionIntervals
from duda.decisions.numbers import by_output, targets
from duda.fitted import Fitted, check_that
from duda.predictions.given import NumbersGiven
from duda.storage import Format

__all__ = ["OnlineConformal"]

_RATES = tuple(0.001 * 2**power for power in range(8))
_SPAN = 500  # targets over which experts are compared


@dataclass(eq=False)
class OnlineConformal(Fitted):
    """Intervals of a series, widened after misses and narrowed after hits, row by row.

    A miss lowers the level of the next interval by rate x (1 - alpha), a hit raises it by rate x
    alpha, and an interval holds what that level of the latest scores allows, at or below 0
    everything, at or above 1 nothing. So over T rows with one rate the share missed is alpha, up to
    (max(alpha, 1 - alpha) + rate) / (rate T), whatever the series does. Without a rate eight of
    them compete, and what is used is their mean, weighted by how well each did of late.
    Source: Gibbs & Candes 2021 (ACI); Gibbs & Candes 2024, algorithm 1 (DtACI).

    Args:
        alpha: the share of intervals that may miss the target.
        score: as for `ConformalRegressor`.
        rate: of adaptation, such as 0.01; None for several.
        window: how many of the latest scores count.

    Attributes:
        levels: `(D, K)`, of each of D outputs, such as horizons, by each of K rates.
        weights: `(D, K)`, of the rates.
        scores: `(D, window)`, the latest last; infinite where there were none yet.
        counts: `(D)`, how many there are.
        squares: `(D, 500)`, squared losses of the latest steps.

    >>> online = OnlineConformal(alpha=0.25, score="absolute", rate=0.05)
    >>> found = online.fit([0.0] * 4, [1.0, 2.0, 3.0, 4.0]).follow([0.0, 0.0], [5.0, 0.0])
    >>> found.upper
    tensor([4., 5.], dtype=torch.float64)
    """

    format = Format("conformal predictor")
    alpha: float = 0.1
    score: NumberScore = "normalized"
    rate: float | None = None
    window: int = 500
    levels: Float[Tensor, "D K"] = field(init=False, repr=False)
    weights: Float[Tensor, "D K"] = field(init=False, repr=False)
    scores: Float[Tensor, "D W"] = field(init=False, repr=False)
    counts: Int[Tensor, "D"] = field(init=False, repr=False)
    squares: Float[Tensor, "D S"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.alpha = check_share(self.alpha, "alpha")
        if self.rate is not None:
            self.rate = check_above_0(self.rate, "rate")
        self.window = check_count(self.window, "window")
        if self.score not in get_args(NumberScore):
            raise ValueError(nearest(str(self.score), get_args(NumberScore), "score"))

    def fit(
        self,
        mean: NumbersGiven | None = None,
        y: ArrayLike | None = None,
        *,
        std: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Self:
        """Start from rows whose targets are known, in their order, and return itself.

        Args:
            mean: a prediction, or means `(N)` or `(N, D)`; none beside `lower` and `upper`.
            y: targets of that shape.
            std: beside means, for `"normalized"`.
            lower: ends of intervals, for `"cqr"`.
            upper: the other ends.
            mask: of the shape of `y`: which targets are known.

        Raises:
            ValueError: as `ConformalRegressor.fit` does.
        """
        guess = guessed(self.score, self.alpha, mean, std, lower, upper)
        columns = by_output(*_scores(guess, y, mask))
        kept = [column[-self.window :] for column in columns]
        self.counts = torch.tensor([len(each) for each in kept])
        self.scores = torch.full((len(kept), self.window), math.inf, dtype=torch.float64)
        for row, each in zip(self.scores, kept, strict=True):
            row[self.window - len(each) :] = each
        outputs, rates = len(kept), len(self._rates)
        self.levels = torch.full((outputs, rates), self.alpha, dtype=torch.float64)
        self.weights = torch.full((outputs, rates), 1 / rates, dtype=torch.float64)
        rest = 1 - self.alpha
        expected = (rest**2 * self.alpha**3 + self.alpha**2 * rest**3) / 3  # of uniform scores
        self.squares = torch.full((outputs, _SPAN), expected, dtype=torch.float64)
        return self

    def __call__(
        self,
        mean: NumbersGiven | None = None,
        /,
        *,
        std: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
    ) -> PredictionIntervals:
        """Return the intervals of rows by what is known now, which stays as it is.

        Raises:
            ValueError: before `fit`, or if there are not as many outputs as in `fit`.
        """
        self.check_fitted()
        guess = _fitting(guessed(self.score, self.alpha, mean, std, lower, upper), len(self.levels))
        wider = self._wider()[1].expand(len(guess.lower), -1)
        return self._intervals(guess, wider)

    def follow(
        self,
        mean: NumbersGiven | None = None,
        y: ArrayLike | None = None,
        *,
        std: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        delay: int | Sequence[int] = 1,
    ) -> PredictionIntervals:
        """Return the interval of each row by what was known then, and learn from its targets.

        Args:
            mean: as in `fit`, and so are all but the last.
            y: targets.
            std: standard deviations.
            lower: ends of intervals.
            upper: the other ends.
            mask: which targets ever become known.
            delay: after how many rows a target is known, of all outputs or of each; all at last.

        Raises:
            ValueError: before `fit`, or if shapes differ.
        """
        self.check_fitted()
        guess = _fitting(guessed(self.score, self.alpha, mean, std, lower, upper), len(self.levels))
        score, known = _scores(guess, y, mask)
        rows, outputs = score.shape
        later = _delays(delay, outputs)
        issued: list[Tensor] = []
        wider: list[Tensor] = []
        for row in range(rows + int(later.max())):
            self._learn(row - later, score, known, issued)
            if row < rows:
                by_rate, chosen = self._wider()
                issued.append(by_rate)
                wider.append(chosen)
        return self._intervals(guess, torch.stack(wider))

    def check_learned(self) -> None:
        """Raise a `ValueError` unless the state can be that of so many scores."""
        super().check_learned()
        outputs, rates = self.levels.shape
        check_that(rates == len(self._rates), f"`levels` are of {rates} rates")
        sizes = {name: tuple(getattr(self, name).shape) for name in ("scores", "squares")}
        wanted = {"scores": (outputs, self.window), "squares": (outputs, _SPAN)}
        check_that(sizes == wanted, f"shapes are {sizes}, expected {wanted}")
        check_that((self.weights >= 0).all(1), "`weights` are below 0")
        missing = (self.scores == math.inf).sum(1)
        check_that(self.counts + missing >= self.window, f"`counts` are {self.counts.tolist()}")
        check_that((self.counts >= 0) & (self.counts <= self.window), "`counts` are no such")

    @property
    def _rates(self) -> tuple[float, ...]:
        return _RATES if self.rate is None else (self.rate,)

    def _wider(self) -> tuple[Float[Tensor, "D K"], Float[Tensor, "D"]]:
        """Return by how many units intervals grow, by each rate and by their weighted level."""
        mixed = (self.weights * self.levels).sum(1, keepdim=True)
        levels = torch.cat([self.levels, mixed / self.weights.sum(1, keepdim=True)], 1)
        found = _quantiles(self.scores, self.counts, levels)
        return found[:, :-1], found[:, -1]

    def _learn(
        self,
        rows: Int[Tensor, "D"],
        score: Float[Tensor, "N D"],
        known: Bool[Tensor, "N D"],
        issued: Sequence[Float[Tensor, "D K"]],
    ) -> None:
        """Learn what became known: of each output the score of one row, or of none."""
        there = (rows >= 0) & (rows < len(score))
        outputs = there.nonzero().flatten()
        outputs = outputs[known[rows[outputs], outputs]]
        if not len(outputs):
            return
        now = score[rows[outputs], outputs]
        wider = torch.stack([issued[int(rows[output])][output] for output in outputs.tolist()])
        if self.rate is None:
            less = (self.scores[outputs] < now[:, None]).sum(1)
            apart = 1 - less[:, None] / (self.counts[outputs, None] + 1) - self.levels[outputs]
            loss = self.alpha * apart - apart.clamp(max=0)  # of the level that would just have held
            weights, squares = _weighed(self.weights[outputs], loss, self.squares[outputs])
            self.weights[outputs], self.squares[outputs] = weights, squares
        rates = torch.tensor(self._rates, dtype=torch.float64)
        missed = (now[:, None] > wider).double()
        self.levels[outputs] += rates * (self.alpha - missed)
        self.scores[outputs] = torch.cat([self.scores[outputs, 1:], now[:, None]], 1)
        self.counts[outputs] = (self.counts[outputs] + 1).clamp(max=self.window)

    def _intervals(self, guess: Guess, wider: Float[Tensor, "N D"]) -> PredictionIntervals:
        lower, upper = guess.lower - wider * guess.unit, guess.upper + wider * guess.unit
        ends = lower.view(guess.shape), upper.view(guess.shape)
        return PredictionIntervals(*ends, self.alpha, self.counts)


def _fitting(guess: Guess, outputs: int) -> Guess:
    """Return predictions on the CPU, which are to be of so many outputs."""
    if guess.lower.shape[1] != outputs:
        raise ValueError(
            f"the predictions have {guess.lower.shape[1]} outputs, expected {outputs}, as `fit` "
            "saw: give both from the same network."
        )
    return Guess(guess.lower.cpu(), guess.upper.cpu(), guess.unit.cpu(), guess.shape)


def _quantiles(
    scores: Float[Tensor, "D W"], counts: Int[Tensor, "D"], levels: Float[Tensor, "D K"]
) -> Float[Tensor, "D K"]:
    """Return the scores that all but a share of the next ones stay below, as each level says."""
    rank = ((counts[:, None] + 1) * (1 - levels) - 1e-9).ceil()
    place = (rank.long() - 1).clamp(0, scores.shape[1] - 1)
    found = scores.sort(1).values.gather(1, place)
    found = torch.where(rank > counts[:, None], math.inf, found)
    return torch.where(rank < 1, -math.inf, found)


def _weighed(
    weights: Float[Tensor, "d K"], loss: Float[Tensor, "d K"], squares: Float[Tensor, "d S"]
) -> tuple[Float[Tensor, "d K"], Float[Tensor, "d S"]]:
    """Return weights of rates after pinball losses of their levels, and the latest squares.

    Who lost has less, and everybody a small share.
    """
    count, share = weights.shape[1], 1 / (2 * _SPAN)
    eta = ((math.log(_SPAN * count) + 2) / squares.sum(1, keepdim=True)).sqrt()
    found = weights * (-eta * loss).exp()
    square = (weights * loss.square()).sum(1, keepdim=True)
    latest = torch.cat([squares[:, 1:], square], 1)
    return (1 - share) * found / found.sum(1, keepdim=True) + share / count, latest


def _scores(
    guess: Guess, y: ArrayLike | None, mask: ArrayLike | None
) -> tuple[Float[Tensor, "N D"], Bool[Tensor, "N D"]]:
    """Return how far targets lie outside, in units, and which of them are known; on the CPU."""
    found = targets(y, guess.shape, mask, guess.lower.device)
    values, known = (each.reshape(guess.lower.shape) for each in found)
    outside = torch.maximum(guess.lower - values, values - guess.upper) / guess.unit
    return outside.cpu(), known.cpu()


def _delays(delay: int | Sequence[int], outputs: int) -> Int[Tensor, "D"]:
    given = [delay] * outputs if isinstance(delay, int) else list(delay)
    if len(given) != outputs:
        raise ValueError(
            f"`delay` has {len(given)} numbers, expected one for all outputs, or one for each of "
            f"{outputs}."
        )
    return torch.tensor([check_count(each, "delay") for each in given])
