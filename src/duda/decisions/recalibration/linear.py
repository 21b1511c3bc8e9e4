"""Vector and matrix scaling: a linear map of log-probabilities, then a softmax."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_at_least_0, check_same_shape
from duda.decisions.claims import Claims
from duda.decisions.recalibration.base import ClassRecalibration, check_classes_present
from duda.decisions.recalibration.minimum import minimum, warn_separable

__all__ = ["LinearScaling", "MatrixScaling", "VectorScaling"]


@dataclass(eq=False)
class LinearScaling(ClassRecalibration):
    """softmax(W log p + b), by the least mean loss plus a penalty that is 0 for W = I and b = 0.

    The problem is convex and solved in float64. Log-probabilities in place of logits: a number
    added to all logits of an example then changes nothing.
    """

    penalty: float = 0.0
    weight: Float[Tensor, "..."] = field(init=False, repr=False)
    bias: Float[Tensor, "C"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.penalty = check_at_least_0(self.penalty, "penalty")

    def check_learned(self) -> None:
        """Raise a `ValueError` unless weights and biases are finite, and as many as the classes."""
        super().check_learned()
        shape = tuple(self._identity(self.classes).shape)
        check_same_shape(self.weight, "weight", shape, "the classes")
        check_same_shape(self.bias, "bias", (self.classes,), "the classes")

    @abstractmethod
    def _identity(self, classes: int) -> Tensor:
        """Return the weight that changes nothing."""

    @abstractmethod
    def _product(self, weight: Tensor, log_probs: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
        """Return the weight applied to each row."""

    @abstractmethod
    def _weight_slope(
        self, weight: Tensor, log_probs: Float[Tensor, "R C"], surplus: Float[Tensor, "R C"]
    ) -> Tensor:
        """Return the gradient by the weight, from that by the logits, without the penalty."""

    def _penalised(self, weight: Tensor) -> Tensor:
        """Return the part of the weight that is penalized, 0 in the rest."""
        return torch.zeros_like(weight)

    def _learn(self, claims: Claims, labels: Int[Tensor, "R"]) -> None:
        log_probs = _finite(claims)
        classes = log_probs.shape[1]
        check_classes_present(labels, classes)
        identity = self._identity(classes)

        def split(parameters: np.ndarray) -> tuple[Tensor, Tensor]:
            values = torch.from_numpy(parameters).to(log_probs.device)
            return values[:-classes].view(identity.shape), values[-classes:]

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            value, *slopes = self._loss(*split(parameters), log_probs, labels)
            return value, torch.cat([slope.flatten() for slope in slopes]).cpu().numpy()

        start = torch.cat([identity.flatten(), identity.new_zeros(classes)]).numpy()
        weight, bias = split(minimum(loss, start))
        self.weight, self.bias = weight.cpu(), bias.cpu()
        if torch.equal(self._logits(weight, bias, log_probs).argmax(1), labels):
            warn_separable(type(self).__name__)

    def _loss(
        self, weight: Tensor, bias: Tensor, log_probs: Float[Tensor, "R C"], labels: Tensor
    ) -> tuple[float, Tensor, Tensor]:
        """Return the penalised loss in nats, and its gradients by weight and bias."""
        rows, classes = log_probs.shape
        scaled = self._logits(weight, bias, log_probs).log_softmax(1)
        own = labels.unsqueeze(1)
        nll = -scaled.gather(1, own).mean()
        surplus = scaled.exp() / rows
        surplus.scatter_add_(1, own, surplus.new_full((rows, 1), -1 / rows))
        far = self._penalised(weight)
        pairs = classes * (classes - 1)
        penalty = self.penalty * (far.square().sum() / pairs + bias.square().mean())
        by_weight = self._weight_slope(weight, log_probs, surplus)
        return (
            float(nll + penalty),
            by_weight + 2 * self.penalty * far / pairs,
            surplus.sum(0) + 2 * self.penalty * bias / classes,
        )

    def _logits(self, weight: Tensor, bias: Tensor, log_probs: Tensor) -> Float[Tensor, "R C"]:
        return self._product(weight, log_probs) + bias

    def _map(self, claims: Claims) -> Float[Tensor, "R C"]:
        log_probs = _finite(claims)
        weight, bias = self.weight.to(log_probs.device), self.bias.to(log_probs.device)
        return self._logits(weight, bias, log_probs).log_softmax(1)


@dataclass(eq=False)
class VectorScaling(LinearScaling):
    """A factor and a bias for each class: a temperature is the case of equal factors.

    Labels may change. The loss on the held-out examples is never worse than before.
    Source: Guo et al. 2017, section 4.2.

    Args:
        penalty: times the mean of the squared biases, in nats.

    Attributes:
        weight: `(C)`.
        bias: `(C)`.

    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    >>> scaling = VectorScaling().fit(probs, [0, 1, 1, 0])
    >>> scaling([[0.9, 0.1]])
    tensor([[0.7420, 0.2580]], dtype=torch.float64)
    """

    penalty: float = 0.0

    def _identity(self, classes: int) -> Tensor:
        return torch.ones(classes, dtype=torch.float64)

    def _product(self, weight: Tensor, log_probs: Tensor) -> Tensor:
        return weight * log_probs

    def _weight_slope(self, weight: Tensor, log_probs: Tensor, surplus: Tensor) -> Tensor:
        return (surplus * log_probs).sum(0)


@dataclass(eq=False)
class MatrixScaling(LinearScaling):
    """A full matrix and a bias, with off-diagonal and intercept regularisation (ODIR).

    On log-probabilities this is Dirichlet calibration. Labels may change. The loss on the held-out
    examples is never worse than before; how it fares on others depends on the penalty, for which
    there is no best value: try some on a third split.
    Source: Kull et al. 2019.

    Args:
        penalty: times the mean of the squared weights off the diagonal, and as much of the biases;
            nats.

    Attributes:
        weight: `(C, C)`, a row for each class that comes out.
        bias: `(C)`.
    """

    penalty: float = 1.0

    def _identity(self, classes: int) -> Tensor:
        return torch.eye(classes, dtype=torch.float64)

    def _product(self, weight: Tensor, log_probs: Tensor) -> Tensor:
        return log_probs @ weight.t()

    def _weight_slope(self, weight: Tensor, log_probs: Tensor, surplus: Tensor) -> Tensor:
        return surplus.t() @ log_probs

    def _penalised(self, weight: Tensor) -> Tensor:
        return weight - weight.diag().diag()


def _finite(claims: Claims) -> Float[Tensor, "R C"]:
    """Return log-probabilities, or raise a `ValueError` if one is that of 0."""
    zeros = int(claims.log_probs.isneginf().sum())
    if zeros:
        raise ValueError(
            f"{claims.name} has {zeros} zeros, whose logs are infinite: {claims.remedy}."
        )
    return claims.log_probs
