"""Ordinal predictions: classes in an order, whose numbers have a median and a variance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape
from duda.devices import on_exact_device
from duda.predictions.classes import ClassPrediction
from duda.predictions.terms import Terms
from duda.predictions.validity import check_variances, finite_numbers

__all__ = ["OrdinalPrediction", "expected_class"]


def expected_class(probs: Float[Tensor, "..."], dim: int = 1) -> Float[Tensor, "..."]:
    """Return the mean class number over `dim`.

    >>> expected_class(torch.tensor([[0.5, 0.0, 0.5]]))
    tensor([1.])
    """
    numbers = torch.arange(probs.shape[dim], dtype=probs.dtype, device=probs.device)
    return (probs.movedim(dim, -1) * numbers).sum(-1)


@dataclass(frozen=True, eq=False, repr=False)
class OrdinalPrediction(ClassPrediction):
    """A `ClassPrediction` whose classes are in an order, from 0 to K - 1.

    Its score is the entropy; `variance`, that of the class number, is one to give in its place
    where a far class is a worse mistake than a near one. It splits, as that of numbers does, into
    the mean variance of the draws and the variance of their means.

    Args:
        epistemic_variance: variance over draws of the mean class number, `(N, *positions)`; zero by
            default. The other arguments are those of a `ClassPrediction`.

    >>> answer = OrdinalPrediction.from_probs([[0.5, 0.0, 0.5], [0.1, 0.8, 0.1]])
    >>> answer.variance, answer.median
    (tensor([1.0000, 0.2000], dtype=torch.float64), tensor([0, 1]))
    """

    epistemic_variance: Float[Tensor, "N *positions"] = field(default=None, kw_only=True)  # type: ignore[assignment]

    derived: ClassVar[tuple[str, ...]] = (
        *ClassPrediction.derived,
        "median",
        "variance",
        "aleatoric_variance",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.epistemic_variance
        zeros = torch.zeros_like(self.log_probs[:, 0])
        value = zeros if given is None else finite_numbers(given, "epistemic_variance")
        shape = tuple(zeros.shape)
        check_same_shape(value, "epistemic_variance", shape, "`log_probs` without its classes")
        check_variances(value, "epistemic_variance", remedy="")
        object.__setattr__(self, "epistemic_variance", value)

    @property
    def cumulative(self) -> Float[Tensor, "N C *positions"]:
        """Probability of each class and all below it."""
        return self.probs.cumsum(1)

    @property
    def median(self) -> Int[Tensor, "N *positions"]:
        """The lowest class with half of the probability at or below it.

        Of all answers it has the least expected distance to the label. Where rounding leaves all
        below half it is the last class.
        """
        return (self.cumulative[:, :-1] < 0.5).sum(1)

    @property
    def variance(self) -> Float[Tensor, "N *positions"]:
        """Variance of the class number."""
        probs = self.probs
        numbers = torch.arange(probs.shape[1], dtype=probs.dtype, device=probs.device)
        numbers = numbers.view(-1, *[1] * (probs.ndim - 2))
        return (probs * (numbers - expected_class(probs).unsqueeze(1)).square()).sum(1)

    @property
    def aleatoric_variance(self) -> Float[Tensor, "N *positions"]:
        """Mean over draws of the variance of the class number; the rest is epistemic."""
        return (self.variance - self.epistemic_variance).clamp(min=0)

    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return what each example adds to the metrics of classes, to the RPS and to the MAE."""
        labels = self._target(y)
        probs = on_exact_device(self.log_probs.detach()).double().softmax(1)
        distances = probs.scatter_add(1, labels, -torch.ones_like(probs[:, :1])).cumsum(1)
        far = on_exact_device(self.median).unsqueeze(1) - labels
        return super().contributions(y) | {
            "rps": Terms(distances[:, :-1].square().sum(1)),
            "mae": Terms(far.abs().squeeze(1).double()),
        }
