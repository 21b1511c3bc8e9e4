"""What is gained by refusing: the loss on the examples that a model is surest of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.evaluation.inputs import scores

__all__ = ["Selection", "selective"]


@dataclass(frozen=True, eq=False)
class Selection:
    """The risk-coverage curve, with a point for each of K distinct scores.

    Tied examples are accepted together, so their order means nothing. The curve starts at coverage
    0 with the risk of its first threshold.
    Source: El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017, section 2.

    Args:
        coverages: `(K + 1)`, the share of examples accepted, from 0 up to 1.
        risks: `(K + 1)`, the mean loss of the accepted ones.
    """

    coverages: Float[Tensor, "K+1"]
    risks: Float[Tensor, "K+1"]

    @property
    def aurc(self) -> float:
        """Area under the curve by the trapezoid rule; lower is better.

        The mean of the risks of the first 1, 2, ..., N examples, which goes by the same name
        (Geifman et al. 2019), is another number, and depends on the order of ties.
        """
        return float(torch.trapezoid(self.risks, self.coverages))


def selective(score: ArrayLike, loss: ArrayLike) -> Selection:
    """Return the risk at each coverage when examples are accepted from the lowest score up.

    Args:
        score: uncertainty, higher is worse; infinite values may pass.
        loss: finite numbers of the same shape, such as 1 for an error and 0 else.

    Raises:
        ValueError: if shapes differ, there are no examples, or NaN or infinite losses.

    >>> selective([0.1, 0.9, 0.4, 0.2], [0, 1, 1, 0]).risks
    tensor([0.0000, 0.0000, 0.0000, 0.3333, 0.5000], dtype=torch.float64)
    """
    values = scores(score)
    losses = as_tensor(loss, "loss").cpu()
    check_same_shape(losses, "loss", tuple(values.shape), "`score`")
    check_finite(losses, "loss")
    _, group = torch.unique(values.flatten(), return_inverse=True)
    accepted = torch.bincount(group).cumsum(0).double()
    risks = torch.bincount(group, weights=losses.flatten().double()).cumsum(0) / accepted
    return Selection(
        torch.cat([accepted.new_zeros(1), accepted / values.numel()]),
        torch.cat([risks[:1], risks]),
    )
