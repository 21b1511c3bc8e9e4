"""Isotonic regression: the best map of probabilities that never descends."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from duda.decisions.claims import Claims
from duda.decisions.recalibration.knots import check_knots, joined
from duda.decisions.recalibration.one_vs_rest import OneVsRest

__all__ = ["Isotonic"]


@dataclass(eq=False)
class Isotonic(OneVsRest):
    """Maps each probability to the frequency of its class among the like, never descending.

    Of more than two classes each is mapped against the rest, and the results divided by their sum;
    if all are 0, they become equal. Frequencies of exactly 0 and 1 stay: a label that comes out at
    0 has an infinite negative log-likelihood. Labels may change, and ties arise.
    Source: Zadrozny & Elkan 2002; pool-adjacent-violators by scikit-learn.

    Attributes:
        knots: `(K, 3)`, each the column it belongs to, a probability and the frequency there.

    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]
    >>> Isotonic().fit(probs, [0, 1, 0, 1])([[0.75, 0.25], [0.5, 0.5]])
    tensor([[0.5000, 0.5000], [0.0000, 1.0000]], dtype=torch.float64)
    """

    knots: Float[Tensor, "R 3"] = field(init=False, repr=False)

    def check_learned(self) -> None:
        """Raise a `ValueError` unless there are finite knots for each mapped class."""
        super().check_learned()
        self._check_mapped(len(set(self.knots[:, 0].tolist())), "knots")
        check_knots(self.knots)

    def _learn_each(self, claims: Claims, first: int, hits: Float[Tensor, "R K"]) -> None:
        from sklearn.isotonic import IsotonicRegression

        knots = []
        columns = (each.cpu().numpy().T for each in (claims.probs[:, first:], hits))
        for place, (probs, truth) in enumerate(zip(*columns, strict=True)):
            fitted = IsotonicRegression(y_min=0, y_max=1).fit(probs, truth)
            places, frequencies = fitted.X_thresholds_, fitted.y_thresholds_
            table = [np.full(len(places), float(place)), places, frequencies]
            knots.append(np.stack(table, axis=1))
        self.knots = torch.from_numpy(np.concatenate(knots))

    def _map_each(self, claims: Claims, first: int) -> Float[Tensor, "R K"]:
        mapped = [
            joined(self.knots, place, column)
            for place, column in enumerate(claims.probs[:, first:].unbind(1))
        ]
        return torch.stack(mapped, 1).logit()
