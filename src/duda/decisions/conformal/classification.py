"""Conformal prediction of classes: sets with guaranteed coverage, marginal or by class."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_count, check_flag, check_share, nearest
from duda.decisions.claims import Claims
from duda.decisions.conformal.quantile import check_thresholds, conformal_quantile
from duda.decisions.conformal.scores import RAPS, SCORES, ClassScore
from duda.decisions.conformal.sets import PredictionSets
from duda.decisions.fitted import Fitted
from duda.predictions.given import ClassesGiven
from duda.storage import Format

__all__ = ["ConformalClassifier"]

_FIT, _CALL = 0, 1  # streams of random numbers: a new example never gets that of a held-out one


@dataclass(eq=False)
class ConformalClassifier(Fitted):
    """Sets of classes: all whose score is at most the threshold that held-out labels gave.

    The right class is in the set of a new example with a probability of at least 1 - alpha, if it
    is exchangeable with the held-out ones, on average over these. With fewer than 1 / alpha - 1 of
    them the threshold is infinite, and every set has all classes. Sets may be empty, where no class
    fits: that is a part of the guarantee. Source: Vovk et al. 2005; Sadinle et al. 2019.

    Args:
        alpha: the share of sets that may miss the right class.
        score: `"lac"`, `"aps"`, `"raps"`, or one with options, such as `APS(randomized=False)`.
        per_class: guarantee the coverage of each class by a threshold of its own (Mondrian, class-
            conditional); it takes 1 / alpha - 1 examples of every class. Source: Vovk 2012.
        seed: of a randomised score, whose numbers come from torch's global generator without.

    Attributes:
        thresholds: `(1)`, or `(C)`.
        calibration: on how many examples each of them rests.

    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]
    >>> sets = ConformalClassifier(alpha=0.25).fit(probs, [0, 0, 1, 0])([[0.6, 0.4], [0.2, 0.8]])
    >>> sets.sets
    tensor([[ True,  True], [False,  True]])
    """

    format = Format("conformal predictor")
    alpha: float = 0.1
    score: ClassScore | str = "lac"
    per_class: bool = False
    seed: int | None = None
    classes: int = field(init=False, repr=False)
    thresholds: Float[Tensor, "G"] = field(init=False, repr=False)
    calibration: Int[Tensor, "G"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.alpha = check_share(self.alpha, "alpha")
        check_flag(self.per_class, "per_class")
        if self.seed is not None:
            self.seed = check_count(self.seed, "seed", least=0)
        if isinstance(self.score, str):
            if self.score not in SCORES:
                raise ValueError(nearest(self.score, SCORES, "score"))
            self.score = SCORES[self.score]()
        if not isinstance(self.score, ClassScore):
            raise TypeError(
                f"`score` is a {type(self.score).__name__}, expected "
                f"{', '.join(repr(name) for name in SCORES)}, or such as `APS(randomized=False)`."
            )

    def fit(
        self,
        probs: ClassesGiven = None,
        y: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        ignore_index: int | None = None,
    ) -> Self:
        """Find the thresholds on held-out examples, and return itself.

        Args:
            probs: a `ClassPrediction`, or probabilities `(N, C)`.
            y: integer labels `(N)`.
            logits: in place of `probs`.
            ignore_index: the label of examples to leave out.

        Raises:
            ValueError: if `probs` are no distributions `(N, C)`, shapes differ, a label is not in 0
                to C - 1, there are no examples, or NaN.
        """
        claims, labels = _of_examples(probs, logits).labelled(y, ignore_index)
        own = self._scores(claims, _FIT).gather(1, labels.unsqueeze(1)).squeeze(1)
        classes = claims.shape[1]
        groups = [own[labels == each] for each in range(classes)] if self.per_class else [own]
        # A class without examples is like one with too few.
        thresholds = [conformal_quantile(g, self.alpha) if len(g) else np.inf for g in groups]
        self.thresholds = torch.tensor(thresholds, dtype=torch.float64)
        self.calibration = torch.tensor([len(group) for group in groups])
        self.classes = classes
        return self

    def __call__(
        self, probs: ClassesGiven = None, /, *, logits: ArrayLike | None = None
    ) -> PredictionSets:
        """Return the sets of new examples.

        Raises:
            ValueError: before `fit`, or if there are not as many classes as in `fit`.
        """
        self.check_fitted()
        claims = _of_examples(probs, logits)
        claims.check_width(self.classes)
        scores = self._scores(claims, _CALL)
        sets: Bool[Tensor, "N C"] = scores <= self.thresholds.to(scores.device)
        return PredictionSets(sets, self.alpha, self.calibration)

    def state(self) -> dict[str, Any]:
        """Return options, the score as its name and its options, and what was learned."""
        state = super().state()
        names = {kind: name for name, kind in SCORES.items()}
        score: Any = self.score
        state["options"]["score"] = {"name": names[type(score)]} | asdict(score)
        return state

    def check_learned(self) -> None:
        """Raise a `ValueError` if thresholds are NaN, or not one for all or for each class."""
        super().check_learned()
        expected = self.classes if self.per_class else 1
        if len(self.thresholds) != expected:
            raise ValueError(f"it has {len(self.thresholds)} thresholds, expected {expected}.")
        highest = math.inf if isinstance(self.score, RAPS) else 1 + 1e-6  # but for rounding
        check_thresholds(self.thresholds, self.calibration, self.alpha, 0.0, highest)

    @classmethod
    def _of_state(cls, state: Any) -> Self:
        options = state.get("options", {})
        named = options.get("score")
        score = dict(named) if isinstance(named, dict) else {"name": named}
        name = score.pop("name", None)
        if name not in SCORES:
            raise ValueError(f"its score is {name!r}, expected {', '.join(SCORES)}.")
        made = {**options, "score": SCORES[name](**score)}
        return super()._of_state({**state, "options": made})

    def _scores(self, claims: Claims, stream: int) -> Float[Tensor, "N C"]:
        score = cast(ClassScore, self.score)  # made one after `__init__`
        uniform = None
        if score.randomized:
            uniform = self._uniform(len(claims.probs), stream).to(claims.probs.device)
        return score(claims.probs, uniform)

    def _uniform(self, count: int, stream: int) -> Float[Tensor, "N"]:
        """Return random numbers, drawn on the CPU so that they are the same on every device."""
        if self.seed is None:
            return torch.rand(count, dtype=torch.float64)
        return torch.from_numpy(np.random.default_rng([self.seed, stream]).random(count))


def _of_examples(probs: ClassesGiven, logits: ArrayLike | None) -> Claims:
    claims = Claims(probs, logits)
    if len(claims.shape) != 2:
        raise ValueError(
            f"the predictions have shape {claims.shape}, expected (N, C): positions of one example "
            "are not exchangeable, choose one of each."
        )
    return claims
