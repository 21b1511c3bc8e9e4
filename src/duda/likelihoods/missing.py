"""Missing targets: numbers that nobody knows, as data have them, and NaN inside."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from duda.checks import plain_number

__all__ = ["checked_missing", "marked_missing", "takes_nan"]


def checked_missing(given: Any) -> float | Literal["nan"] | None:
    """Return what stands for a missing target: a finite number, "nan" also for NaN, or None.

    Raises:
        ValueError: if it is something else.

    >>> checked_missing(float("nan")), checked_missing(-9999)
    ('nan', -9999)
    """
    number = plain_number(given)
    if given is None or (number is not None and math.isfinite(number)):
        return number
    if (isinstance(given, str) and given == "nan") or (number is not None and math.isnan(number)):
        return "nan"
    raise ValueError(
        f"`missing` is {given!r}, expected 'nan', a number such as -9999, or None where all "
        "targets are known."
    )


def marked_missing(y: Tensor, missing: float | Literal["nan"] | None) -> Tensor:
    """Return targets with NaN in the place of those that are missing.

    >>> marked_missing(torch.tensor([1, -9999]), -9999)
    tensor([1., nan], dtype=torch.float64)
    """
    if missing is None or missing == "nan":
        return y
    return (y if y.is_floating_point() else y.double()).masked_fill(y == missing, torch.nan)


def takes_nan(likelihood: object) -> bool:
    """Return whether NaN says to a likelihood that a target is missing.

    >>> from duda import Gaussian
    >>> takes_nan(Gaussian()), takes_nan(Gaussian(missing="nan"))
    (False, True)
    """
    parts = getattr(likelihood, "parts", {})  # of several outputs
    return getattr(likelihood, "missing", None) == "nan" or any(map(takes_nan, parts.values()))
