"""Errors of detections by kind: true positives to false ones; their NLL and energy score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.boxes.geometry import iou as overlaps_of
from duda.boxes.truths import Picture, Truths, pictures
from duda.checks import check_at_least_0, check_count, check_share, seeded
from duda.predictions.boxes import BoxPrediction
from duda.shown import Shown

__all__ = ["KINDS", "DetectionErrors", "detection_errors"]

KINDS = ("true positive", "duplicate", "localization error", "false positive")


@dataclass(frozen=True, eq=False, repr=False)
class DetectionErrors(Shown):
    """What each of K detections, of all pictures one after the other, is.

    Args:
        said: all of them.
        kind: `(K)`, the place in `KINDS`.
        boxes: `(K, 4)`, the true box that each overlaps most; NaN for false positives.
        labels: `(K)`, its label; -1 for false positives.
        missed: true boxes without a true positive.
    """

    headline = ("counts",)

    said: BoxPrediction
    kind: Int[Tensor, "K"]
    boxes: Float[Tensor, "K 4"]
    labels: Int[Tensor, "K"]
    missed: int

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind, and how many true boxes are missed."""
        found = torch.bincount(self.kind, minlength=len(KINDS)).tolist()
        return {**dict(zip(KINDS, found, strict=True)), "missed": self.missed}

    def by_kind(self, values: Float[Tensor, "K"]) -> dict[str, float]:
        """Return the mean of something of each detection for each kind, NaN where there is none."""
        return {name: float(values[self.kind == i].mean()) for i, name in enumerate(KINDS)}

    def class_nll(self) -> Float[Tensor, "K"]:
        """Return -log of the probability of the true class, or background, of each, in nats."""
        background = (1 - self.said.existence).unsqueeze(1)
        everything = torch.cat([self.said.probs, background], 1)
        true = everything.gather(1, (self.labels % everything.shape[1]).unsqueeze(1))
        return -true.squeeze(1).log()

    def nll(self, floor: float = 0.0) -> Float[Tensor, "K"]:
        """Return -log of the normal density of the true corners, in nats; NaN for false positives.

        Args:
            floor: added to each variance, in squared units, where members alone cannot spread
                corners in all directions.

        Raises:
            ValueError: if a covariance is singular.
        """
        covariance = self._widened(floor)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        singular = (failed > 0) | (factor.diagonal(dim1=1, dim2=2) <= 0).any(1)
        if bool(singular.any()):
            raise ValueError(
                f"{int(singular.sum())} of {len(singular)} boxes have a singular covariance, which "
                "has no density: give `within`, more members, or `floor`."
            )
        apart = (self.boxes - self.said.boxes).unsqueeze(2)
        scaled = torch.linalg.solve_triangular(factor, apart, upper=False).squeeze(2)
        volume = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        density: Tensor = -scaled.square().sum(1) / 2 - volume - 2 * math.log(2 * math.pi)
        return -density

    def energy_score(
        self, floor: float = 0.0, samples: int = 1000, seed: int = 0
    ) -> Float[Tensor, "K"]:
        """Return the energy score of the true corners, in units of boxes; NaN for false positives.

        E|X - y| - E|X - X'| / 2 by draws; without spread it is the distance of the corners. It is
        proper as the NLL is, but does not reward covariances that are too wide.
        Source: Gneiting & Raftery 2007; Harakeh & Waslander 2021.
        """
        drawn = check_count(samples, "samples", least=2)
        # A root that singular covariances have too.
        values, vectors = torch.linalg.eigh(self._widened(floor))
        root = vectors * values.clamp(min=0).sqrt().unsqueeze(1)
        noise = torch.randn(drawn, 4, generator=seeded(seed), dtype=torch.float64)
        spread = torch.einsum("kij,mj->kmi", root, noise)
        apart: Tensor = (spread + (self.said.boxes - self.boxes).unsqueeze(1)).norm(dim=2).mean(1)
        pairs: Tensor = spread.diff(dim=1).norm(dim=2).mean(1)
        return apart - pairs / 2

    def _widened(self, floor: float) -> Float[Tensor, "K 4 4"]:
        added = check_at_least_0(floor, "floor", "variance")
        return self.said.covariance + added * torch.eye(4, dtype=torch.float64)


def detection_errors(
    predictions: Sequence[BoxPrediction], truths: Truths, *, right: float = 0.7, near: float = 0.1
) -> DetectionErrors:
    """Return what detections are: each belongs to the true box that it overlaps most.

    Of those that overlap one by `right` the surest is the true positive, others are duplicates;
    by less, but more than `near`, it is a localization error, else a false positive. Labels do not
    matter, as `class_nll` scores them. Source: Harakeh & Waslander 2021, section 4.

    Raises:
        ValueError: if pictures do not fit, or `near` is not below `right`.

    >>> said = BoxPrediction([[0, 0, 4, 4], [0, 0, 4, 4.1], [8, 8, 9, 9]], [[0.9], [0.6], [0.5]])
    >>> detection_errors([said], [([[0, 0, 4, 4]], [0])]).kind
    tensor([0, 1, 3])
    """
    if check_share(near, "near") >= check_share(right, "right"):
        raise ValueError(f"`near` is {near}, expected it below `right`, which is {right}.")
    shown = pictures(predictions, truths)
    parts = [_split(each, right, near) for each in shown]
    kind, boxes, labels = (torch.cat([part[i] for part in parts]) for i in range(3))
    total = sum(len(each.boxes) for each in shown)
    said = BoxPrediction.concatenate([each.said for each in shown])
    return DetectionErrors(said, kind, boxes, labels, total - int((kind == 0).sum()))


def _split(picture: Picture, right: float, near: float) -> tuple[Tensor, Tensor, Tensor]:
    said, boxes, labels = picture
    if not len(boxes):
        kind = torch.full((len(said),), 3)
        return kind, torch.full_like(said.boxes, math.nan), torch.full_like(kind, -1)
    overlap, own = overlaps_of(said.boxes, boxes).max(1)
    kind = torch.where(overlap >= right, 1, torch.where(overlap > near, 2, 3))
    for truth in range(len(boxes)):
        rivals = ((kind == 1) & (own == truth)).nonzero().flatten()
        if len(rivals):
            kind[rivals[said.existence[rivals].argmax()]] = 0
    nothing = kind == 3
    found = boxes[own].masked_fill(nothing.unsqueeze(1), math.nan)
    return kind, found, labels[own].masked_fill(nothing, -1)
