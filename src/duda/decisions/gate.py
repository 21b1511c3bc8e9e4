"""Gates, for selective prediction: accept, defer to a person or abstain, with a guarantee."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.decisions.cost import Cost
from duda.decisions.false_alarm import FalseAlarm
from duda.decisions.guarantee import Guarantee
from duda.decisions.keep import Keep
from duda.decisions.outcomes import Decisions
from duda.decisions.risk import Risk
from duda.inputs import flags
from duda.params import Params
from duda.predictions import Prediction
from duda.predictions.given import ScoresGiven, prediction_given, scored, targets_counted
from duda.renamed import OldAttribute

__all__ = ["Gate"]


class Gate(Params):
    """Accepts each answer of a model, defers it to a person, or abstains, by its uncertainty.

    A gate is made for a guarantee, by `keep`, `risk`, `false_alarm` or `cost`, and fitted on
    held-out examples that the model was not trained on. It accepts scores of at most a threshold,
    tied ones together. Guarantees hold for new examples that are independent draws from where the
    held-out ones came from; `summary` says what they rest on.

    Args:
        guarantee: what is guaranteed and, once fitted, what was found: `gate.guarantee.threshold`.

    >>> gate = Gate.keep(0.5).fit([0.1, 0.2, 0.3])
    >>> gate([0.15, 0.9]).counts
    {'accept': 1, 'ask': 0, 'refuse': 1}
    """

    promise = OldAttribute("guarantee")

    def __init__(self, guarantee: Guarantee) -> None:
        self.guarantee = guarantee

    @classmethod
    def keep(cls, share: float) -> Self:
        """Return a gate that accepts at least `share` of what is like the held-out examples.

        With too few of them for that, ⌈(n + 1) · share⌉ > n, it accepts everything.
        Source: Vovk et al. 2005, section 2.2; see `Keep`.
        """
        return cls(Keep(share))

    @classmethod
    def risk(cls, level: float, confidence: float = 0.95) -> Self:
        """Return a gate of whose accepted answers at most `level` are bad, with `confidence`.

        It is the point of the risk-coverage curve that can be guaranteed. `fit` needs to know what
        is bad, and raises a `ValueError` if no threshold can be guaranteed.
        Source: Clopper & Pearson 1934, with Bonferroni over thresholds; see `Risk`.
        """
        return cls(Risk(level, confidence))

    @classmethod
    def false_alarm(cls, level: float, batch: bool = False) -> Self:
        """Return a gate that refuses at most `level` of what is like the held-out examples.

        In a batch it compares all examples of a call, and of those refused at most `level` are like
        the held-out ones: with few outliers it refuses less, with many more.
        Source: Bates et al. 2023; see `FalseAlarm`.
        """
        return cls(FalseAlarm(level, batch))

    @classmethod
    def cost(
        cls,
        *,
        error: float,
        refusal: float | None = None,
        asking: float | None = None,
        refused_error: float | None = None,
    ) -> Self:
        """Return a gate of least cost, which `fit` estimates: it needs to know what is bad.

        Args:
            error: the cost of accepting a bad answer.
            refusal: of refusing an answer, to abstain; without one nothing is refused.
            asking: of asking a person, to whom it defers and who is right; without one nobody is.
            refused_error: of refusing a bad answer, by default `refusal`; a lower one, such as 0,
                makes all three outcomes useful.

        Source: Chow 1970; see `Cost`.
        """
        return cls(Cost(error, refusal, asking, refused_error))

    def fit(
        self,
        prediction: ScoresGiven,
        y: ArrayLike | None = None,
        *,
        is_bad: ArrayLike | None = None,
        tolerance: float | None = None,
        ignore_index: int | None = None,
    ) -> Self:
        """Find the threshold on held-out examples, and return the gate.

        Args:
            prediction: for N held-out examples, or N scores of your own, higher is worse.
            y: their targets. An answer is bad where its label is another, or where it is off by
                more than `tolerance`. `keep` and `false_alarm` do not look at it.
            is_bad: `(N)`, booleans or 0 and 1, in place of `y`.
            tolerance: the largest good |error| of a number, in its units.
            ignore_index: the label of examples to leave out.

        Raises:
            TypeError: if `ignore_index` came without labels of a prediction of classes.
            ValueError: if scores are NaN or not one for each example, if what is bad is not said,
                or if no threshold can be guaranteed.
        """
        score = _example_scores(prediction)
        kept = None
        if ignore_index is not None:
            y, kept = _labels_that_count(prediction, y, ignore_index)
        bad = torch.zeros_like(score, dtype=torch.bool)  # looked at by those that need it
        if self.guarantee.needs_bad:
            bad = _bad(prediction, score, y, is_bad, tolerance)
        if kept is not None:
            score, bad = score[kept], bad[kept]
        self.guarantee.fit(score, bad)
        return self

    def __call__(self, prediction: ScoresGiven) -> Decisions:
        """Return what to do about each of N new examples, by their prediction or scores.

        Raises:
            ValueError: if the gate is not fitted, or scores are NaN or not one for each example.
        """
        self.guarantee.check_fitted()
        return self.guarantee.decide(_example_scores(prediction))

    def summary(self) -> str:
        """Return in plain sentences what is guaranteed, and on how many examples that rests."""
        self.guarantee.check_fitted()
        return self.guarantee.summary()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted gate to `path`, to the last digit, whole or not at all."""
        return self.guarantee.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote, also the JSON of version 0.1.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else.
        """
        return cls(Guarantee.load(path))

    def __repr__(self) -> str:
        fitted = self.guarantee.is_fitted
        state = f"fitted on {self.guarantee.examples:,} examples" if fitted else "not fitted"
        return f"<Gate: {self.guarantee.name}, {state}>"


def _example_scores(source: ScoresGiven) -> Float[Tensor, "N"]:
    """Return one score for each example, in float64."""
    values = scored(source)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values.squeeze(1)
    if values.ndim != 1:
        raise ValueError(
            f"`score` has shape {tuple(values.shape)}, expected (N,), one for each example: give "
            "scores that sum up its outputs or positions, such as `score.flatten(1).mean(1)`."
        )
    lowest = int((values == -torch.inf).sum())
    if lowest:
        raise ValueError(
            f"`score` has {lowest} values of -inf, below which there is no threshold: replace them."
        )
    return values


def _labels_that_count(
    source: ScoresGiven, y: ArrayLike | None, ignore_index: int
) -> tuple[Tensor, Bool[Tensor, "N"]]:
    prediction = prediction_given(source, Prediction, "prediction")
    if prediction is None or y is None:
        raise TypeError(
            f"`ignore_index` is {ignore_index} without a prediction and its labels `y`: give both, "
            "or leave those scores out."
        )
    labels, kept = targets_counted(prediction, y, ignore_index)
    return labels, prediction.scores_of(kept)  # type: ignore[arg-type] # with an index some are kept


def _bad(
    prediction: ScoresGiven,
    score: Tensor,
    y: ArrayLike | None,
    is_bad: ArrayLike | None,
    tolerance: float | None,
) -> Bool[Tensor, "N"]:
    """Return which answers are bad, by just one of `y` and `is_bad`."""
    if is_bad is not None and y is None:
        return flags(is_bad, "is_bad", score, "the scores")
    if y is None or is_bad is not None:
        raise ValueError(
            "give either `y` or `is_bad`, not both and not neither: this gate rests on knowing "
            "which answers are bad."
        )
    answer = prediction_given(prediction, Prediction, "prediction")
    if answer is None:
        raise ValueError(
            "`y` cannot be compared with scores alone: give `is_bad`, or a prediction."
        )
    return answer.is_bad(y, tolerance).flatten()
