"""Class weights, label smoothing and focal loss: settings of likelihoods of classes."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import (
    as_tensor,
    at_least_float32,
    check_above_0,
    check_at_least_0,
    check_flag,
    counted,
)
from duda.likelihoods.base import Likelihood
from duda.likelihoods.class_costs import ClassCosts, unfocused
from duda.transfer import sent

__all__ = ["WeightedClasses"]


@dataclass(frozen=True)
class WeightedClasses(Likelihood, ABC):
    """Classes that may count differently, and cost something else than -log p.

    Args:
        weight: how much each class counts, or "balanced".
        label_smoothing: ε, the share of a target that is spread over all classes.
        focal: γ, by which a class costs (1 - p)^γ times as much.
        undo_weight: whether predictions are without weights.
        undo_focal: whether they are without γ.
        balance: weights that a training has counted.
    """

    weight: tuple[float, ...] | Literal["balanced"] | None = field(default=None, kw_only=True)
    label_smoothing: float = field(default=0.0, kw_only=True)
    focal: float = field(default=0.0, kw_only=True)
    undo_weight: bool = field(default=True, kw_only=True)
    undo_focal: bool = field(default=True, kw_only=True)
    balance: Tensor | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        check_flag(self.undo_weight, "undo_weight")
        check_flag(self.undo_focal, "undo_focal")
        check_at_least_0(self.focal, "focal")
        if check_at_least_0(self.label_smoothing, "label_smoothing", "share") >= 1:
            raise ValueError(
                f"`label_smoothing` is {self.label_smoothing}, expected a share below 1."
            )
        object.__setattr__(self, "weight", _checked_weight(self.weight))

    @property
    def weights(self) -> tuple[float, ...] | Tensor | None:
        """The weights of the classes, if they differ; balanced ones once they are counted."""
        if self.weight != "balanced":
            return self.weight
        return None if self.balance is None or len(self.balance) == 0 else self.balance

    @property
    def changes_loss(self) -> bool:
        """Whether targets may cost something else than -log p, and count differently."""
        return self.weight is not None or self.label_smoothing > 0 or self.focal > 0

    def check_ready(self) -> None:
        """Raise a `ValueError` if classes are to be counted, and are not."""
        if self.weight == "balanced" and self.weights is None:
            raise ValueError(
                "`weight` is 'balanced', but nobody has counted the training targets: train with "
                "`duda.fit`, call `model.on_fit_start(duda.training.FitState(batches=lambda: "
                "loader))` before a loop of your own, or give a number for each class."
            )

    def check_weights(self, classes: int) -> None:
        """Raise a `ValueError` unless there is a weight for each class."""
        found = classes if self.weights is None else len(self.weights)
        if found != classes:
            where = "by the training targets, " if self.weight == "balanced" else ""
            raise ValueError(
                f"`weight` has {counted(found, 'weight')}, {where}expected one for each of "
                f"{classes} classes: give `Categorical(weight=[...])`."
            )

    def costs(self, like: Tensor) -> ClassCosts:
        """Return what targets cost, with weights where `like` is."""
        weight = self.weights
        if weight is not None:
            dtype = at_least_float32(like).dtype if like.is_floating_point() else torch.float64
            weight = sent(torch.as_tensor(weight, dtype=dtype), like.device)
        return ClassCosts(weight, self.label_smoothing, self.focal)

    def unweighted(self, logits: Float[Tensor, "M N C *positions"]) -> Tensor:
        """Return the logits of p, of those at which the loss is least; classes on dimension 2."""
        if self.focal and self.undo_focal:
            logits = unfocused(at_least_float32(logits), self.focal, dim=2)
        if self.weight is None or not self.undo_weight:
            return logits
        self.check_ready()
        self.check_weights(logits.shape[2])
        weight = cast(Tensor, self.costs(logits).weight)
        return logits - weight.log().view(-1, *[1] * (logits.ndim - 3))


def _checked_weight(given: Any) -> tuple[float, ...] | Literal["balanced"] | None:
    """Return weights of classes as they can be kept in a file, and compared."""
    if given is None:
        return None
    if isinstance(given, str) and given == "balanced":
        return "balanced"
    values = None if isinstance(given, str) else as_tensor(given, "weight").tolist()
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError(f"`weight` is {given!r}, expected 'balanced', or a number for each class.")
    return tuple(check_above_0(each, "weight") for each in values)
