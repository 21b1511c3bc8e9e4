"""Minimization of a smooth convex loss, or a warning that it has no minimum."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["minimum", "warn_separable"]

_FLAT = 1e-6  # the steepest slope that counts as flat, in nats for one unit of a parameter


def minimum(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
) -> np.ndarray:
    """Return where `loss`, given with its gradient, is lowest; a warning says if it is not flat.

    >>> minimum(lambda x: (float(x @ x), 2 * x), np.ones(2)).round(6) + 0.0
    array([0., 0.])
    """
    from scipy.optimize import minimize

    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 20_000, "maxfun": 100_000, "gtol": 1e-8, "ftol": 0, "maxcor": 30},
    )
    slope = found.jac.copy()
    if bounds is not None:
        lowest = np.array([-np.inf if low is None else low for low, _ in bounds])
        slope[(found.x <= lowest) & (slope > 0)] = 0
    steepest = np.abs(slope).max()
    if steepest > _FLAT:
        warnings.warn(
            f"the fit stopped at a slope of {steepest:.2g} nats, expected at most {_FLAT:g}: what "
            "it found may be improved; use more held-out examples.",
            stacklevel=4,
        )
    return np.asarray(found.x)


def warn_separable(what: str) -> None:
    """Say that parameters could grow for ever, as all labels come out right."""
    warnings.warn(
        f"{what} gets every held-out label right, so that its weights have no best value and "
        "stopped where the loss was flat: use more held-out examples.",
        stacklevel=4,
    )
