"""Joint log-likelihood (joint NLL): do the draws of a model know which answers come together.

Of a batch it is -log 1/M Σₘ Πᵢ pₘ(yᵢ | xᵢ) over its examples i, with the M draws of the prediction.
Source: Wen et al. 2022, "From Predictions to Decisions: The Importance of Joint Predictive
Distributions"; Osband et al. 2022, "The Neural Testbed".
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_count
from duda.inputs import scores
from duda.predictions import Prediction
from duda.predictions.given import targets_counted

__all__ = ["joint_nll", "joint_nll_of_draws"]


def joint_nll(
    prediction: Prediction,
    y: ArrayLike,
    *,
    size: int = 10,
    seed: int | None = None,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean over batches of their negative joint log-likelihood, nats; lower is better.

    As in the sources it is that of a whole batch, not divided by its `size`. With `size=1` it is
    `nll`, or `density_nll` of one output; an example with more outputs or positions is all of them.

    Args:
        prediction: with kept draws, each one function for all examples.
        y: labels or numbers that fit the prediction.
        size: examples in a batch, τ in the sources; it divides the number of examples.
        seed: of the order in which they are put into batches; by default their own.
        ignore_index: the label of positions that add nothing.
        mask: of the shape of `y`: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: for a prediction without likelihood, such as one of quantiles.
        ValueError: if draws are missing or not joint, `y` does not fit, or `size` does not divide.

    >>> from duda import Categorical
    >>> coins = torch.tensor([[[9.0, 0.0]] * 2, [[0.0, 9.0]] * 2])  # one of two, never fair
    >>> answer = Categorical().reduce(coins, keep_draws=True).with_joint(True)
    >>> round(joint_nll(answer, [0, 0], size=2), 2), round(joint_nll(answer, [0, 1], size=2), 2)
    (0.69, 9.0)
    """
    if prediction.draws is None or not prediction.joint:
        raise ValueError(
            "`prediction` has no draws that are one function for all examples: call "
            "`model.predict(x, joint=True, keep_draws=True)`."
        )
    targets, kept = targets_counted(prediction, y, ignore_index, mask)
    each = prediction.log_likelihoods(targets)
    if kept is not None:
        each = (torch.where(kept, one, 0.0) for one in each)
    return _mean_over_batches(each, len(prediction), size, seed)


def joint_nll_of_draws(
    log_likelihoods: ArrayLike, *, size: int = 10, seed: int | None = None
) -> float:
    """Return the `joint_nll` of log-likelihoods that any program computed.

    Args:
        log_likelihoods: `(M, N, *rest)`, log pₘ(yᵢ | xᵢ) of each draw m, summed over the rest; -inf
            may pass.
        size: examples in a batch; it divides N.
        seed: of the order in which they are put into batches; by default their own.

    Raises:
        ValueError: if there are NaN, +inf, no numbers or no examples, or `size` does not divide.

    >>> round(joint_nll_of_draws([[-1.0, -2.0], [-2.0, -1.0]], size=2), 4)
    3.0
    """
    values = scores(log_likelihoods, "log_likelihoods").double()
    if values.ndim < 2:
        raise ValueError(
            f"`log_likelihoods` has shape {tuple(values.shape)}, expected (M, N, *rest), draws "
            "first."
        )
    return _mean_over_batches(values, values.shape[1], size, seed)


def _mean_over_batches(
    log_likelihoods: Iterable[Float[Tensor, "N *rest"]], examples: int, size: int, seed: int | None
) -> float:
    """Return the mean over batches of minus the log of the mean over draws, summed as they come."""
    size, left = check_count(size, "size"), examples % check_count(size, "size")
    if left or not examples:
        raise ValueError(
            f"`size` is {size}, expected a number that divides the {examples} examples: leave out "
            f"{left}, or choose another."
        )
    order = None
    if seed is not None:
        order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    total, draws = torch.tensor(-math.inf, dtype=torch.float64), 0
    for each in log_likelihoods:
        sums = each.reshape(examples, -1).sum(1)
        if order is not None:
            order = order.to(each.device)
            sums = sums[order]
        batches = sums.view(-1, size).sum(1)
        total, draws = torch.logaddexp(total.to(each.device), batches), draws + 1
    if not bool((total < math.inf).all()):
        raise ValueError(
            "a draw has an infinite density at a target, where its standard deviation is 0: give "
            "the likelihood a larger floor."
        )
    return -float((total - math.log(draws)).mean())
