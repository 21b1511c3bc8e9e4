"""Dirichlet likelihood (evidential): classes whose probabilities are themselves uncertain."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_whole
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.categorical import Categorical
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.outputs import CHANCE, check_dim, check_raw, outputs_first
from duda.predictions import Prediction

__all__ = ["Dirichlet"]


@dataclass(frozen=True)
class Dirichlet(Likelihood):
    """C raw outputs on dimension 1: probabilities are Dirichlet with α = softplus(raw) + 1.

    One network tells aleatoric from epistemic uncertainty: the mean entropy of a label over the
    Dirichlet, and its mutual information with the probabilities (Malinin & Gales 2018).
    The loss, which is no -log p, is the Bayes risk of the squared error and a KL divergence that
    grows to its full weight in 10 epochs. Source: Sensoy et al. 2018, eq. 5 and section 4.

    Args:
        ignore_index: as in `Categorical`.
        class_dim: as in `Categorical`.

    >>> round(float(Dirichlet().reduce(torch.full((1, 1, 2), -50.0)).epistemic), 4)  # α = 1
    0.1931
    """

    of_classes: ClassVar[bool] = True
    annealing_epochs: ClassVar[int] = 10

    ignore_index: int | None = None
    class_dim: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_dim(self.class_dim, "class_dim")
        if self.ignore_index is not None:
            check_whole(self.ignore_index, "ignore_index")

    @property
    def output_dim(self) -> int | None:  # type: ignore[override]
        """The dimension of the classes, if it was given."""
        return self.class_dim

    @property
    def _categorical(self) -> Categorical:
        return Categorical(self.ignore_index, class_dim=self.class_dim)

    def width(self, targets: int) -> int:
        """Return the number of classes: evidence for each."""
        return targets

    def concentration(self, outputs: Tensor) -> Tensor:
        """Return α, the parameters of the Dirichlet distribution."""
        return F.softplus(outputs) + 1

    def check_targets(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` unless `y` holds labels below C, or distributions over C classes."""
        self._categorical.check_targets(outputs, y)

    def harmless(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Shaped[Tensor, "N *targets"]:
        """Return labels of which none lies beyond the classes."""
        return self._categorical.harmless(outputs, y)

    def check_outputs(
        self, outputs: Float[Tensor, "N C *positions"], chance: float = CHANCE
    ) -> None:
        """Raise a `ValueError` if the outputs are those of a softmax."""
        check_raw(outputs_first(outputs, self.class_dim), "evidence", chance)

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the loss with the KL divergence in full."""
        return self.annealed_loss(outputs, y, 1.0)

    def annealed_loss(
        self,
        outputs: Float[Tensor, "N C *positions"],
        y: Shaped[Tensor, "N *targets"],
        annealed: float,
    ) -> Float[Tensor, ""]:
        """Return E|y - p|² + λ KL(Dir(α̃) || Dir(1)), α̃ = y + (1 - y) α, the mean over `terms`."""
        outputs = outputs_first(at_least_float32(outputs), self.class_dim)
        alpha = self.concentration(outputs)
        counted = self.counted(y)
        if y.is_floating_point():
            shares = outputs_first(y.to(alpha.dtype), self.class_dim)
        else:
            y = y if counted is None else y.where(counted, 0)
            shares = torch.zeros_like(alpha).scatter(1, y.long().unsqueeze(1), 1.0)
        total = alpha.sum(1, keepdim=True)
        probs = alpha / total
        risk = (shares - probs).square() + probs * (1 - probs) / (total + 1)
        misleading = shares + (1 - shares) * alpha
        each = risk.sum(1) + annealed * _kl_from_uniform(misleading)
        if counted is None:
            return each.mean()
        # As for `Categorical`: nothing labelled is loss 0, not 0 / 0.
        return each.where(counted, 0).sum() / counted.sum().clamp(min=1)

    def counted(self, y: Shaped[Tensor, "N *targets"]) -> Bool[Tensor, "N *positions"] | None:
        """Return which labels, or distributions over the classes, count; None for all."""
        return self._categorical.counted(y)

    def terms(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return how many labels, or distributions over the classes, count."""
        return self._categorical.terms(y)

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the mean probabilities."""
        return self._categorical.prediction_loss(prediction, y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return _DirichletReduction(self, keep_draws)


class _DirichletReduction(ClassReduction):
    """Streams the mean probabilities of each draw, and the entropy it expects of a label."""

    def __init__(self, likelihood: Dirichlet, keep_draws: bool) -> None:
        super().__init__(keep_draws, lambda draws: outputs_first(draws, likelihood.class_dim, 2))
        self.likelihood = likelihood

    def split(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return log α / S, and E H(p) = Σ (α / S) (ψ(S + 1) - ψ(α + 1)), in nats."""
        alpha = self.likelihood.concentration(draws.double())
        total = alpha.sum(2, keepdim=True)
        entropies = (alpha / total * ((total + 1).digamma() - (alpha + 1).digamma())).sum(2)
        return (alpha.log() - total.log()).to(draws.dtype), entropies


def _kl_from_uniform(alpha: Tensor) -> Tensor:
    """Return KL(Dir(α) || Dir(1)) in nats, over dimension 1."""
    exact = alpha.double()  # large terms cancel
    total = exact.sum(1, keepdim=True)
    normalisers = total.squeeze(1).lgamma() - math.lgamma(alpha.shape[1]) - exact.lgamma().sum(1)
    slopes = ((exact - 1) * (exact.digamma() - total.digamma())).sum(1)
    return (normalisers + slopes).to(alpha.dtype)
