"""AUROC of any draw of examples, from one sort of their scores for all draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.evaluation import curves
from duda.evaluation.ties import tied_runs

__all__ = ["Ranked"]


@dataclass(frozen=True, eq=False)
class Ranked:
    """S scores from the highest down, as K runs of equal ones.

    An example has one score, or one for each of its positions.

    Args:
        example: `(S)`, whose score it is.
        is_bad: `(S)`, whether a high score is right there.
        ends: `(K)`, where each run ends.
    """

    example: Int[np.ndarray, "S"]
    is_bad: Bool[np.ndarray, "S"]
    ends: Int[np.ndarray, "K"]

    @classmethod
    def of(
        cls, score: Float[Tensor, "S"], is_bad: Bool[Tensor, "S"], example: Int[Tensor, "S"]
    ) -> Self:
        """Return `score` in order; infinite ones may pass."""
        runs = tied_runs(score, descending=True)
        return cls(example[runs.order].numpy(), is_bad[runs.order].numpy(), runs.ends.numpy())

    @property
    def fewest(self) -> int:
        """How many examples there are with a bad score or with a good one: the rarer kind."""
        return min(len(np.unique(self.example[kind])) for kind in (self.is_bad, ~self.is_bad))

    def auroc(self, counts: Int[np.ndarray, "N"]) -> float:
        """Return the AUROC where example n was drawn `counts[n]` times; NaN if one kind was not.

        A tie counts half; pairs are counted in integers, as `evaluation.rank` does.
        """
        drawn = counts[self.example]
        caught = (drawn * self.is_bad).cumsum()[self.ends]
        false_alarms = drawn.cumsum()[self.ends] - caught
        if not caught[-1] or not false_alarms[-1]:
            return math.nan
        return float(curves.auroc(*map(torch.from_numpy, (caught, false_alarms))))
