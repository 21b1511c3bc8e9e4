"""Probabilities of classes as rows: of a prediction or of arrays, one for each position."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.inputs import class_log_probs, class_probs, hard_labels
from duda.predictions import BernoulliPrediction, ClassPrediction
from duda.predictions.given import (
    ClassesGiven,
    class_arrays,
    class_labels_given,
    like_given,
    prediction_given,
)

__all__ = ["Claims"]


class Claims:
    """R rows over C classes in float64: a row for each example and position.

    Args:
        probs: a prediction, or probabilities `(N, C, *positions)`.
        logits: in place of `probs`.
    """

    def __init__(self, probs: ClassesGiven, logits: ArrayLike | None) -> None:
        self.source = probs
        self.prediction = prediction_given(probs, ClassPrediction, "probs", "probabilities")
        plain, logs = class_arrays(probs, logits)
        self.is_log = plain is None
        given = class_log_probs(None, logs) if self.is_log else class_probs(plain, None)
        self.given = given.double()
        self.shape = tuple(self.given.shape)

    @cached_property
    def probs(self) -> Float[Tensor, "R C"]:
        """Probabilities, bit by bit as they came if they did."""
        rows = self._rows()
        return rows.exp() if self.is_log else rows

    @cached_property
    def log_probs(self) -> Float[Tensor, "R C"]:
        """Their logs in nats, -inf for 0."""
        rows = self._rows()
        return rows if self.is_log else rows.log()

    def labelled(
        self, y: ArrayLike | None, ignore_index: int | None = None
    ) -> tuple[Self, Int[Tensor, "K"]]:
        """Return the rows whose label is not `ignore_index`, and their labels `(N, *positions)`."""
        given = class_labels_given(self.source, y)
        labels = hard_labels(given, self.shape, ignore_index, device=self.given.device).flatten()
        if ignore_index is None:
            return self, labels
        kept = labels != ignore_index
        if not bool(kept.any()):
            raise ValueError(
                f"`y` is `ignore_index` {ignore_index} everywhere, expected at least one other "
                "label."
            )
        rows = copy.copy(self)
        rows.given = self._rows()[kept]
        rows.shape = tuple(rows.given.shape)
        return rows, labels[kept]

    def corrected(
        self, log_probs: Float[Tensor, "R C"]
    ) -> ClassPrediction | BernoulliPrediction | Tensor:
        """Return what came with other probabilities: a prediction, or `(N, C, *positions)`.

        A prediction keeps the epistemic share of its entropy.
        """
        examples, classes, *positions = self.shape
        whole = log_probs.view(examples, *positions, classes).movedim(-1, 1)
        if self.prediction is None:
            return whole.exp()
        return like_given(self.source, _moved(self.prediction, whole))

    @property
    def name(self) -> str:
        """What errors call the probabilities."""
        return "the softmax of `logits`" if self.is_log and self.prediction is None else "`probs`"

    @property
    def remedy(self) -> str:
        """What to do about probabilities of 0, whose logs are infinite."""
        if not self.is_log:
            return "pass `logits=`, which do not underflow"
        given = "probabilities" if self.prediction is not None else "logits of -inf"
        return f"leave out the classes with such {given}, or use `Temperature`, which keeps them"

    def check_width(self, classes: int) -> None:
        """Raise a `ValueError` unless there are as many classes as `fit` saw."""
        if self.shape[1] != classes:
            raise ValueError(
                f"the predictions have {self.shape[1]} classes, expected {classes}, as `fit` saw: "
                "give both from the same network."
            )

    def _rows(self) -> Float[Tensor, "R C"]:
        return self.given.movedim(1, -1).reshape(-1, self.shape[1])


def _moved(prediction: ClassPrediction, log_probs: Tensor) -> ClassPrediction:
    known = prediction.aleatoric / prediction.entropy
    share = torch.where(prediction.entropy > 0, known, 1.0).clamp(max=1)
    moved = replace(prediction, log_probs=log_probs.to(prediction.log_probs), draws=None)
    return replace(moved, aleatoric=moved.entropy * share)
