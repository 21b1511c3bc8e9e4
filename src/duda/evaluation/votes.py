"""Distance to the votes of people (DistCE, KL, squared), where several answers are right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.inputs import class_log_probs
from duda.predictions.given import ClassesGiven, class_arrays
from duda.shown import Shown

__all__ = ["VoteDistance", "vote_distance"]


@dataclass(frozen=True, eq=False, repr=False)
class VoteDistance(Shown):
    """For each example, how far the predicted probabilities are from its votes.

    Few votes differ from what people at large would say, so that the first two are not 0 for a
    perfect model either; `by_chance` tells what the first would be, and `squared` is free of it.

    Args:
        total_variation: half the sum over classes of |probability - share of votes|, in [0, 1].
        by_chance: what to expect of it if votes were drawn from the predicted probabilities.
        kl: the divergence of the probabilities from the shares, nats: cross-entropy less the
            entropy of the votes. Infinite where a class with a vote has probability 0.
        squared: unbiased estimate of the squared distance to the distribution that votes come from,
            a sum over classes, hence below 0 for some examples; NaN for a single vote.
    """

    total_variation: Float[Tensor, "N *positions"]
    by_chance: Float[Tensor, "N *positions"]
    kl: Float[Tensor, "N *positions"]
    squared: Float[Tensor, "N *positions"]


def vote_distance(
    probs: ClassesGiven = None,
    votes: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
) -> VoteDistance:
    """Return how far the probabilities for each example are from what people answered.

    Unlike calibration against the majority, its best model is the one that says what people say.
    Source: Baan et al. 2022, "Stop Measuring Calibration When Humans Disagree" (total variation as
    the human distribution calibration error, DistCE).

    Args:
        probs: a prediction, or `(N, C, *positions)`.
        votes: counts of the same shape, whole numbers, at least one vote an example.
        logits: in place of `probs`.

    Raises:
        ValueError: if shapes differ, votes are no counts, or there is NaN.

    >>> found = vote_distance([[0.5, 0.5], [1.0, 0.0]], [[2, 0], [2, 0]])
    >>> found.total_variation, found.by_chance
    (tensor([0.5000, 0.0000], dtype=torch.float64), tensor([0.2500, 0.0000], dtype=torch.float64))
    """
    log_probs = class_log_probs(*class_arrays(probs, logits)).double()
    predicted = log_probs.exp()
    counts = _counts(votes, log_probs)
    voters = counts.sum(1)
    shares = counts / voters.unsqueeze(1)
    away = predicted - shares
    # A class without votes adds nothing, also where its log-probability is -inf.
    divergence = torch.where(shares > 0, shares * (shares.log() - log_probs), 0.0)
    sampling = (1 - shares.square().sum(1)) / (voters - 1)
    return VoteDistance(
        total_variation=away.abs().sum(1) / 2,
        by_chance=_mean_deviation(predicted, voters.unsqueeze(1)).sum(1) / 2,
        kl=divergence.sum(1),
        squared=away.square().sum(1) - sampling,
    )


def _mean_deviation(probs: Tensor, voters: Tensor) -> Tensor:
    """Return the mean of |share - p|, where the share of votes is binomial.

    It is 2 m C(n, m) p^m (1 - p)^(n - m + 1) / n, with m the first whole number above n p.
    Source: de Moivre 1730, as in Diaconis & Zabell 1991.
    """
    first = (voters * probs).floor() + 1
    log_choose = (
        torch.lgamma(voters + 1) - torch.lgamma(first + 1) - torch.lgamma(voters - first + 1)
    )
    powers = torch.xlogy(first, probs) + torch.xlogy(voters - first + 1, 1 - probs)
    return 2 * first * (log_choose + powers).exp() / voters


def _counts(votes: ArrayLike | None, like: Tensor) -> Float[Tensor, "N C *positions"]:
    if votes is None:
        raise TypeError("`votes` is missing: give the counts to compare with.")
    values = as_tensor(votes, "votes").to(like.device, torch.float64)
    check_same_shape(values, "votes", tuple(like.shape), "the probabilities, one count each")
    check_finite(values, "votes")
    wrong = (values < 0) | (values != values.round())
    if bool(wrong.any()):
        raise ValueError(
            f"`votes` holds {float(values[wrong][0]):.4g}, expected whole numbers from 0 up: give "
            "counts, not shares."
        )
    silent = int((values.sum(1) == 0).sum())
    if silent:
        raise ValueError(
            f"`votes` has no vote for {silent} examples, expected at least one each: leave them "
            "out."
        )
    return values
