"""One-versus-rest recalibration: one probability at a time, of class 1 of two or of each class."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from duda.decisions.claims import Claims
from duda.decisions.recalibration.base import ClassRecalibration, check_classes_present

__all__ = ["OneVsRest"]


@dataclass(eq=False)
class OneVsRest(ClassRecalibration):
    """Maps the probability of each class by itself, then divides by their sum.

    Of two classes class 1 is mapped and class 0 is the rest. Where all classes come out at 0, they
    are equally probable. Source: Zadrozny & Elkan 2002.
    """

    @abstractmethod
    def _learn_each(self, claims: Claims, first: int, hits: Float[Tensor, "R K"]) -> None:
        """Fill the learned fields but `classes`, for the classes from the `first` on.

        `hits` are 1 where the class is the label, else 0.
        """

    @abstractmethod
    def _map_each(self, claims: Claims, first: int) -> Float[Tensor, "R K"]:
        """Return the new log odds of the classes from the `first` on, infinite for 0 and 1."""

    def _check_mapped(self, count: int, name: str) -> None:
        """Raise a `ValueError` unless something was learned for each mapped class."""
        expected = self.classes - _first(self.classes)
        if count != expected:
            raise ValueError(f"its `{name}` are of {count} classes, expected {expected}.")

    def _learn(self, claims: Claims, labels: Int[Tensor, "R"]) -> None:
        check_classes_present(labels, claims.shape[1])
        classes, first = claims.shape[1], _first(claims.shape[1])
        hits = labels.unsqueeze(1) == torch.arange(first, classes, device=labels.device)
        self._learn_each(claims, first, hits.double())

    def _map(self, claims: Claims) -> Float[Tensor, "R C"]:
        odds = self._map_each(claims, _first(claims.shape[1]))
        if odds.shape[1] == 1:
            return logsigmoid(torch.cat([-odds, odds], dim=1))
        log_probs = logsigmoid(odds)
        nowhere = log_probs.isneginf().all(1, keepdim=True)
        return log_probs.masked_fill(nowhere, 0.0).log_softmax(1)


def _first(classes: int) -> int:
    return 1 if classes == 2 else 0
