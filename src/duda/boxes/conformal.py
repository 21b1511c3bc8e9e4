"""Conformal boxes: bounds of each edge, or of all four together, with guaranteed coverage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.boxes.matching import matched
from duda.boxes.truths import Truths, pictures
from duda.checks import ArrayLike, check_flag, check_same_shape, check_share, nearest
from duda.decisions.conformal.coverage import GuaranteedCoverage
from duda.decisions.conformal.quantile import check_thresholds, conformal_quantile
from duda.fitted import Fitted, check_that
from duda.predictions.boxes import BoxPrediction, checked_boxes
from duda.shown import Shown
from duda.storage import Format

__all__ = ["BoxBounds", "ConformalBoxes"]

Score = Literal["absolute", "normalized", "relative"]
Edges = Literal["each", "max", "bonferroni"]


@dataclass(frozen=True, eq=False, repr=False)
class BoxBounds(Shown):
    """Between what the edges of K boxes lie.

    Args:
        lower: `(K, 4)`, for left, top, right and bottom.
        upper: `(K, 4)`.
    """

    lower: Float[Tensor, "K 4"]
    upper: Float[Tensor, "K 4"]

    @property
    def outer(self) -> Float[Tensor, "K 4"]:
        """Boxes that hold the true ones, where all edges are within bounds."""
        return torch.cat([self.lower[:, :2], self.upper[:, 2:]], 1)

    @property
    def inner(self) -> Float[Tensor, "K 4"]:
        """Boxes within the true ones; with left > right or top > bottom, nothing surely is."""
        return torch.cat([self.upper[:, :2], self.lower[:, 2:]], 1)

    def contains(self, boxes: ArrayLike) -> Bool[Tensor, "K 4"]:
        """Return which edges of the true box of each are within bounds.

        Raises:
            ValueError: if there is not one box for each.
        """
        true = checked_boxes(boxes).to(self.lower.device)
        check_same_shape(true, "boxes", tuple(self.lower.shape), "the bounds")
        return (self.lower <= true) & (true <= self.upper)


@dataclass(eq=False)
class ConformalBoxes(Fitted):
    """Bounds around detected boxes that held enough of the edges of held-out true ones.

    A detection is taken for the true box of its label that it overlaps by `iou`, the surest first,
    and what is guaranteed is of those: bounds hold the edges of a new true box that is detected
    with a probability of at least 1 - alpha, if it is exchangeable with the held-out ones, which
    boxes of one picture are only roughly.
    Source: de Grancey et al. 2022 (Bonferroni); Timans et al. 2024 (largest score of four edges).

    Args:
        alpha: the share that may be missed.
        edges: `"each"` by itself; or all four together: the `"max"` of their scores has one
            threshold, or `"bonferroni"`, each edge for a fourth of alpha.
        score: |edge - true edge|, `"absolute"`, `"normalized"` by its std, or `"relative"` to the
            detection's width or height.
        iou: the least overlap.
        by_class: whether labels must agree.

    Attributes:
        thresholds: `(4)`, of left, top, right and bottom.
        pairs: how many detected boxes they rest on.

    >>> said = [BoxPrediction([[0, 0, 4, 4], [9, 9, 12, 12]], [[0.9], [0.8]])] * 3
    >>> conformal = ConformalBoxes(alpha=0.2, score="absolute")
    >>> conformal.fit(said, [([[0, 1, 4, 4], [9, 9, 12, 13]], [0, 0])] * 3)(said[0][:1]).outer
    tensor([[-1., -1.,  5.,  5.]], dtype=torch.float64)
    """

    format = Format("conformal predictor")
    alpha: float = 0.1
    edges: Edges = "max"
    score: Score = "normalized"
    iou: float = 0.5
    by_class: bool = True
    thresholds: Float[Tensor, "4"] = field(init=False, repr=False)
    pairs: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.alpha = check_share(self.alpha, "alpha")
        self.iou = check_share(self.iou, "iou")
        check_flag(self.by_class, "by_class")
        for name, known in (("edges", Edges), ("score", Score)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(nearest(getattr(self, name), get_args(known), name))

    def fit(self, predictions: Sequence[BoxPrediction], truths: Truths) -> Self:
        """Find the thresholds on held-out pictures, and return itself.

        Args:
            predictions: one for each picture.
            truths: boxes `(L, 4)` and labels `(L)` of each picture.

        Raises:
            ValueError: if pictures do not fit, or nothing is detected, or a std is 0.
        """
        parts = [
            (said.boxes - true).abs() / self._unit(said)
            for said, true in self._detected(predictions, truths)
        ]
        scores = torch.cat(parts)
        if not len(scores):
            raise ValueError(
                f"`predictions` overlap no true box by {self.iou}, expected some that do: give "
                "pictures with detections, or a lower `iou`."
            )
        if self.edges == "max":
            scores = scores.amax(1, keepdim=True).expand(-1, 4)
        found = [conformal_quantile(column, self._alpha) for column in scores.T]
        self.thresholds, self.pairs = torch.tensor(found, dtype=torch.float64), len(scores)
        return self

    def __call__(self, prediction: BoxPrediction) -> BoxBounds:
        """Return the bounds of the boxes of a picture.

        Raises:
            ValueError: before `fit`, or if a std is 0.
        """
        self.check_fitted()
        wider = self.thresholds.to(prediction.device) * self._unit(prediction)
        return BoxBounds(prediction.boxes - wider, prediction.boxes + wider)

    def coverage(self, predictions: Sequence[BoxPrediction], truths: Truths) -> GuaranteedCoverage:
        """Return the coverage of each edge, or of all together, beside what is guaranteed.

        Raises:
            ValueError: before `fit`, or if pictures do not fit.
        """
        parts = [self(said).contains(true) for said, true in self._detected(predictions, truths)]
        inside = torch.cat(parts)
        if self.edges != "each":
            inside = inside.all(1, keepdim=True)
        counts = torch.full((inside.shape[1],), len(inside))
        return GuaranteedCoverage(
            inside.sum(0), counts, torch.full_like(counts, self.pairs), self.alpha
        )

    def check_learned(self) -> None:
        """Raise a `ValueError` unless thresholds are those of so many boxes."""
        super().check_learned()
        check_thresholds(self.thresholds, torch.tensor([self.pairs] * 4), self._alpha, lowest=0.0)
        same = self.edges != "max" or bool((self.thresholds == self.thresholds[0]).all())
        check_that(same, f"`thresholds` are {self.thresholds.tolist()}, expected one for all edges")

    @property
    def _alpha(self) -> float:
        return self.alpha / 4 if self.edges == "bonferroni" else self.alpha

    def _detected(
        self, predictions: Sequence[BoxPrediction], truths: Truths
    ) -> Iterator[tuple[BoxPrediction, Float[Tensor, "K 4"]]]:
        """Yield the detections of each picture that are true boxes, and these."""
        for picture in pictures(predictions, truths):
            match = matched(picture, self.iou, self.by_class)
            yield picture.said[match >= 0], picture.boxes[match[match >= 0]]

    def _unit(self, said: BoxPrediction) -> Float[Tensor, "K 4"]:
        if self.score == "absolute":
            return torch.ones_like(said.boxes)
        if self.score == "relative":
            unit = (said.boxes[:, 2:] - said.boxes[:, :2]).repeat(1, 2)
        else:
            unit = said.std
        if bool((unit <= 0).any()):
            what = "`std`" if self.score == "normalized" else "width or height"
            raise ValueError(
                f"{int((unit <= 0).any(1).sum())} of {len(unit)} boxes have a {what} of 0, by "
                "which nothing can be divided: choose `score='absolute'`."
            )
        return unit
