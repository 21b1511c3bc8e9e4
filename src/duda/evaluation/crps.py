"""Continuous ranked probability score (CRPS): a proper score of numbers, in their own units.

Every form of it is E|X − y| − ½ E|X − X'|, with X and X' independent draws of the prediction.
Source: Gneiting & Raftery 2007, eq. 21.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite
from duda.devices import on_exact_device
from duda.evaluation.coverage import promised_levels
from duda.evaluation.intervals import pinball_of_quantiles
from duda.evaluation.numbers import blocks, check_members, compared
from duda.inputs import numbers, spreads
from duda.predictions.crps import GAUSSIAN, LAPLACIAN, Distances, mixture_crps
from duda.predictions.given import NumbersGiven
from duda.predictions.quantiles import shares_of_levels

__all__ = [
    "crps",
    "crps_of_draws",
    "crps_of_gaussian",
    "crps_of_laplacian",
    "crps_of_mixture",
    "crps_of_quantiles",
]

_AT_ONCE = 2**22  # draws in a block, so that memory does not grow with the number of examples


def crps(
    prediction: NumbersGiven,
    y: ArrayLike,
    *,
    std: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean CRPS over examples and outputs, in units of `y`; lower is better.

    In closed form: of the exact mixture where a Gaussian or Laplacian prediction kept its draws;
    of quantiles it is `crps_of_quantiles`. Families without a closed form give it numerically.

    Args:
        prediction: of numbers, or means, of Gaussians. Where the standard deviation is 0 the CRPS
            is |y - mean|.
        y: of the shape of `prediction.centre`, or of the means.
        std: one for each of the means.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: for a prediction of classes, or means without `std`.
        ValueError: if shapes differ, or there are NaN, infinite or no targets.

    >>> round(crps([0.0], [0.0], std=[1.0]), 4)
    0.2337
    """
    of_classes = "`evaluation.brier(prediction, y)`"
    found = compared(prediction, y, std, mask, instead=of_classes)
    return float(found.each(lambda rows, values: rows.crps(values)).mean())


def crps_of_gaussian(mean: ArrayLike, std: ArrayLike, y: ArrayLike) -> Float[Tensor, "*shape"]:
    """Return the CRPS of each Gaussian, in units of `y`; |y - mean| where `std` is 0.

    Source: Gneiting et al. 2005, eq. 5.

    Raises:
        ValueError: if shapes differ, a number is NaN or infinite, or a `std` negative.

    >>> crps_of_gaussian([0.0, 1.0], [1.0, 0.0], [0.0, 3.0])
    tensor([0.2337, 2.0000], dtype=torch.float64)
    """
    return _of_one(mean, std, y, GAUSSIAN)


def crps_of_laplacian(mean: ArrayLike, std: ArrayLike, y: ArrayLike) -> Float[Tensor, "*shape"]:
    """Return the CRPS of each Laplace distribution; its scale is `std` / √2.

    Source: Jordan, Krüger & Lerch 2019, appendix A.

    Raises:
        ValueError: if shapes differ, a number is NaN or infinite, or a `std` negative.

    >>> crps_of_laplacian([0.0], [2**0.5], [0.0])
    tensor([0.2500], dtype=torch.float64)
    """
    return _of_one(mean, std, y, LAPLACIAN)


def crps_of_mixture(means: ArrayLike, stds: ArrayLike, y: ArrayLike) -> Float[Tensor, "*shape"]:
    """Return the CRPS of mixtures of M equally likely Gaussians, in closed form.

    Source: Grimit et al. 2006.

    Args:
        means: `(M, *shape)`.
        stds: `(M, *shape)`, at least 0.
        y: `(*shape)`.

    Raises:
        ValueError: if shapes differ, a number is NaN or infinite, or one of `stds` negative.

    >>> crps_of_mixture([[-1.0], [1.0]], [[0.5], [0.5]], [0.0])
    tensor([0.3672], dtype=torch.float64)
    """
    centres = numbers(means, "means")
    values = numbers(y, "y").to(centres.device)
    check_members(centres, "means", values)
    return _of_mixture(centres, spreads(stds, centres), values, GAUSSIAN)


def crps_of_draws(draws: ArrayLike, y: ArrayLike, *, fair: bool = False) -> Float[Tensor, "*shape"]:
    """Return the CRPS of each example's draws, or of an ensemble's members; O(M log M).

    By default of the draws' own distribution (the V-statistic), which is too high for few draws of
    a good one. The fair CRPS is what infinitely many such draws would get, on average; of one
    example it may be negative. Source: Ferro 2014.

    Args:
        draws: `(M, *shape)`.
        y: `(*shape)`.
        fair: whether the spread is over M (M - 1) pairs, in place of M².

    Raises:
        ValueError: if shapes differ, a number is NaN or infinite, or `fair` with only one draw.

    >>> crps_of_draws([[0.0], [1.0], [2.0]], [1.5])
    tensor([0.3889], dtype=torch.float64)
    """
    members = on_exact_device(as_tensor(draws, "draws"))
    values = numbers(y, "y").to(members.device)
    check_members(members, "draws", values)
    check_finite(members, "draws")
    count = len(members)
    if fair and count == 1:
        raise ValueError(
            "`draws` holds 1 draw, expected at least 2 for `fair=True`: one has no spread."
        )
    # Sorted, the k-th draw lies above k others and below all the rest.
    weights = 2.0 * torch.arange(count, dtype=torch.float64, device=members.device) - (count - 1)
    weights /= count * (count - 1) if fair else count**2
    size = max(1, _AT_ONCE // count)
    pieces = zip(
        torch.split(members.reshape(count, -1), size, 1),
        torch.split(values.flatten(), size),
        strict=True,
    )
    found = [_of_sorted(some, points, weights) for some, points in pieces]
    return torch.cat(found).view(values.shape)


def crps_of_quantiles(
    quantiles: ArrayLike, levels: ArrayLike, y: ArrayLike
) -> Float[Tensor, "N *rest"]:
    """Return twice the pinball loss, weighted over levels: the CRPS as they become dense.

    Each level stands for the probabilities that are nearest to it, so uneven ones have uneven
    weights, and levels (2 k + 1) / 2 Q equal ones. Source: Laio & Tamea 2007.

    Args:
        quantiles: `(N, Q, *rest)`, in units of `y`.
        levels: `(Q)`, ascending probabilities.
        y: `(N, *rest)`.

    Raises:
        ValueError: if shapes differ, a number is NaN or infinite, or the levels do not ascend.

    >>> crps_of_quantiles([[-1.0, 1.0]], [0.25, 0.75], [3.0])
    tensor([2.5000], dtype=torch.float64)
    """
    losses = pinball_of_quantiles(quantiles, levels, y)
    places = promised_levels(levels)
    if not bool((places.diff() > 0).all()):
        raise ValueError("`levels` do not ascend, expected each once, from low to high: sort them.")
    return 2 * torch.einsum("nq...,q->n...", losses, shares_of_levels(places).to(losses.device))


def _of_one(mean: ArrayLike, std: ArrayLike, y: ArrayLike, family: Distances) -> Tensor:
    means = numbers(mean, "mean")
    stds, values = spreads(std, means), numbers(y, "y", means)
    return _of_mixture(means.unsqueeze(0), stds.unsqueeze(0), values, family)


def _of_mixture(means: Tensor, stds: Tensor, y: Tensor, family: Distances) -> Tensor:
    """Return the CRPS of each target, of members `(M, *shape)`."""
    values, found = y.flatten(), torch.empty_like(y.flatten())
    means, stds = means.reshape(len(means), -1), stds.reshape(len(means), -1)
    for part in blocks(values):
        found[part] = mixture_crps(means[:, part], stds[:, part], values[part], family)
    return found.view(y.shape)


def _of_sorted(draws: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    # From y on, so that digits are not lost on a large offset.
    gaps = draws.T.double() - y.unsqueeze(1)
    spread = gaps.sort(dim=1).values @ weights
    return gaps.abs().mean(1) - spread
