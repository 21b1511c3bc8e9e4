"""Class weights, label smoothing and focal loss: what labels cost in place of -log p."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

__all__ = ["ClassCosts", "balanced_weights", "unfocused"]

_SURE = -30.0  # log(1 - p) from where on p has no digits that tell it from 1
_LEAST = -1e6  # that log(1 - p) can be, so that logits are finite


@dataclass(frozen=True)
class ClassCosts:
    """What each target costs, for logits `(N, C, *positions)` and targets with classes likewise.

    Args:
        weight: of each class, `(C)`, or None.
        smoothing: ε, the share of a target that is spread evenly over all classes.
        focal: γ, by which a class costs (1 - p)^γ times as much.
    """

    weight: Float[Tensor, "C"] | None
    smoothing: float
    focal: float

    def each(
        self, logits: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, "N *positions"]:
        """Return Σ_c q_c w_c (1 - p_c)^γ (-log p_c), with q = (1 - ε) y + ε / C."""
        hard = not y.is_floating_point()
        if hard and not self.focal:
            return F.cross_entropy(
                logits, y.long(), self.weight, reduction="none", label_smoothing=self.smoothing
            )
        log_probs = logits.log_softmax(1)
        costs = -log_probs
        if self.focal:
            costs = costs * (self.focal * _log_rest(logits, log_probs)).exp()
        if self.weight is not None:
            costs = costs * self.weight.view(-1, *[1] * (logits.ndim - 2))
        if hard:
            found = costs.gather(1, y.long().unsqueeze(1)).squeeze(1)
        else:
            found = costs.mul(y).where(y > 0, 0).sum(1)  # impossible classes cost infinity
        if not self.smoothing:
            return found
        return (1 - self.smoothing) * found + self.smoothing * costs.mean(1)

    def counts(self, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, "N *positions"] | None:
        """Return how much each target counts in the mean, Σ_c y_c w_c; None where all count 1."""
        if self.weight is None:
            return None
        if not y.is_floating_point():
            return self.weight[y.long()]
        return (y * self.weight.to(y.dtype).view(-1, *[1] * (y.ndim - 2))).sum(1)

    def curvature(self, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, "N *positions"] | None:
        """Return by what the Hessian of each target's loss is more than diag(p) - p pᵀ.

        It is Σ_c q_c w_c, whatever p is; None for 1. There is no such number if γ > 0.
        """
        counts = self.counts(y)
        if counts is None or self.weight is None:
            return None
        return (1 - self.smoothing) * counts + self.smoothing * self.weight.mean()


def balanced_weights(counts: Iterable[Shaped[Tensor, "K"]]) -> Float[Tensor, "C"]:
    """Return the weights n / (C n_c), with which all classes have the same part in a loss.

    Args:
        counts: how often each class is the target in a batch, up to the last that is.

    Source: King & Zeng 2001, "Logistic regression in rare events data", as in scikit-learn.

    Raises:
        ValueError: if a class has no target.

    >>> balanced_weights([torch.tensor([1]), torch.tensor([0, 3])])
    tensor([2.0000, 0.6667], dtype=torch.float64)
    """
    total = torch.zeros(0, dtype=torch.float64)
    for each in counts:
        total = F.pad(total, (0, max(0, len(each) - len(total))))
        total[: len(each)] += each.cpu()
    missing = (total == 0).nonzero().flatten().tolist()
    if missing or not len(total):
        which = f"the class {missing[0]} has no training target" if missing else "there are none"
        raise ValueError(
            f"`weight` is 'balanced', but {which}, expected some of each: give a weight for each "
            "class, `Categorical(weight=[...])`."
        )
    return total.sum() / (len(total) * total)


def unfocused(logits: Tensor, gamma: float, dim: int = 1) -> Tensor:
    """Return logits of the probabilities η for which the focal loss is least at softmax(logits).

    η_c ∝ q_c / ((1 - q_c)^γ - γ (1 - q_c)^(γ-1) q_c log q_c), and the order of classes stays.
    Source: Charoenphakdee et al. 2021, theorem 11.

    >>> unfocused(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), 2.0).softmax(1)[:, 0]
    tensor([0.5000, 0.9955])
    """
    first = logits.movedim(dim, 1)
    log_probs = first.log_softmax(1)
    rest = _log_rest(first, log_probs).clamp(min=_LEAST)
    # -q log q / (1 - q) lies in [0, 1]: 0 in the limit of q = 0, and 1 where q is 1 as rounded.
    exact = torch.where(log_probs > -0.5, (-rest.exp()).log1p(), log_probs)
    slope = ((exact - rest).exp() * -exact).where(exact > -torch.inf, 0).where(rest > _SURE, 1)
    return (log_probs - gamma * rest - (gamma * slope).log1p()).movedim(1, dim)


def _log_rest(
    logits: Float[Tensor, "N C *positions"], log_probs: Float[Tensor, "N C *positions"]
) -> Float[Tensor, "N C *positions"]:
    """Return log(1 - p) of each class, also where p is 1 but for rounding."""
    first = logits.argmax(1, keepdim=True)
    top = torch.zeros_like(logits, dtype=torch.bool).scatter(1, first, True)
    least = torch.finfo(logits.dtype).min  # -inf for all others would have no gradient
    others = logits.masked_fill(top, least).logsumexp(1, keepdim=True)
    of_top = (others - logits.logsumexp(1, keepdim=True)).clamp(max=0)
    return torch.where(top, of_top, log_probs.where(~top, -1).expm1().neg().log())
