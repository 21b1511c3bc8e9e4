"""Validity of what a prediction is made from: shapes, finite numbers, variances, draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, at_least_float32, check_finite, check_same_shape
from duda.devices import exact_device
from duda.doubts import doubt

__all__ = [
    "check_distributions",
    "check_draws",
    "check_entropies",
    "check_log_probs",
    "check_no_nan",
    "check_positive",
    "check_scale",
    "check_variances",
    "check_votes",
    "finite_numbers",
    "numbers_like",
    "valid_tolerance",
]

_SUM = 1e-3  # how far sums of probabilities may be from 1
_OVERFLOWS = 709.0  # as a power of e, in float64
_ROUNDING = 0.02  # of entropies, in parts of the largest: bfloat16 has two digits


def check_positive(value: Tensor, name: str) -> None:
    """Raise a `ValueError` unless all numbers are above 0."""

    def look() -> None:
        lowest = float(value.min())
        raise ValueError(f"`{name}` holds {lowest:.4g}, expected numbers above 0.")

    doubt(lambda: ~(value > 0).all(), look)


def check_draws(draws: Tensor | None, one: tuple[int, ...]) -> None:
    """Raise a `ValueError` unless `draws` are None or at least one draw of shape `one`, no NaN."""
    if draws is None:
        return
    if draws.ndim == 0 or len(draws) == 0:
        raise ValueError(
            f"`draws` has shape {tuple(draws.shape)}, expected at least one draw of shape {one}: "
            "leave it out if there are none."
        )
    check_same_shape(draws, "draws", (len(draws), *one), "the examples, draws first")
    check_no_nan(draws, "draws")


def check_log_probs(value: Tensor, name: str) -> None:
    """Raise a `ValueError` unless `(N, C, *positions)` are logs of distributions over classes."""

    def log_sums() -> Tensor:
        return at_least_float32(value).logsumexp(1)

    remedy = f"pass `{name}.log_softmax(1)`"
    _check_sums(log_sums, _expm1, value, name, value.shape[1], remedy)


def check_distributions(draws: Tensor, name: str) -> None:
    """Raise a `ValueError` unless `(M, N, C, *positions)` are distributions over classes."""
    if not draws.numel():
        return

    def look() -> None:
        lowest = float(draws.detach().min())
        if lowest < 0:
            raise ValueError(f"`{name}` holds {lowest:.4g}, expected probabilities of at least 0.")

    def sums_but_one() -> Tensor:
        return draws.sum(2, dtype=torch.float64) - 1

    doubt(draws.amin, look, wrong=_is_negative)
    remedy = f"pass `{name}.softmax(2)` of logits"
    _check_sums(sums_but_one, float, draws, name, draws.shape[2], remedy)


def _check_sums(
    found: Callable[[], Tensor],
    sum_but_one: Callable[[float], float],
    value: Tensor,
    name: str,
    classes: int,
    remedy: str,
) -> None:
    """Raise a `ValueError` unless sums are 1, as far as numbers like those of `value` can be."""
    if not value.numel():
        return
    most = _SUM + torch.finfo(value.dtype).eps * (1 + math.log(classes))

    def worst(low: float, high: float) -> float:
        return max(abs(sum_but_one(low)), abs(sum_but_one(high)))  # both are NaN if one is

    def look() -> None:
        check_no_nan(value, name)
        raise ValueError(
            f"`{name}` are no distributions: the probabilities of an example add up to a number "
            f"{worst(*map(float, found().detach().aminmax())):.4g} away from 1; {remedy}."
        )

    doubt(lambda: found().aminmax(), look, wrong=lambda *extremes: not worst(*extremes) <= most)


def _expm1(value: float) -> float:
    return math.expm1(value) if value < _OVERFLOWS else math.inf


def _is_negative(*lowest: float) -> bool:
    return min(lowest) < 0


def check_entropies(value: Tensor, name: str, classes: int) -> None:
    """Raise a `ValueError` unless entropies lie in 0 to log C, as short floats tell it."""
    if not value.numel():
        return
    most = math.log(classes)

    def wrong(low: float, high: float) -> bool:  # NaN where there is any
        return not (low >= -_ROUNDING * most and high <= (1 + _ROUNDING) * most)

    def look() -> None:
        check_no_nan(value, name)
        low, high = map(float, value.detach().aminmax())
        raise ValueError(
            f"`{name}` lies in [{low:.4g}, {high:.4g}], expected entropies of {classes} classes: "
            f"0 to {most:.4g} nats."
        )

    doubt(value.aminmax, look, wrong=wrong)


def check_votes(value: Tensor, name: str) -> None:
    """Raise a `ValueError` unless `(N, C, *positions)` are counts, some of each example."""
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise ValueError(f"`{name}` has dtype {value.dtype}, expected counts of draws as integers.")

    def look() -> None:
        raise ValueError(f"`{name}` is below 0, or 0 for all classes: expected counts of draws.")

    if value.numel():
        doubt(lambda: (value.amin(), value.sum(1).amin() - 1), look, wrong=_is_negative)


def check_no_nan(value: Tensor, name: str) -> None:
    """Raise a `ValueError` that counts the NaN of `value`; infinite values may pass."""

    def look() -> None:
        raise ValueError(
            f"`{name}` has {int(value.isnan().sum())} NaN of {value.numel()} values: check the "
            "network's weights and inputs."
        )

    doubt(lambda: value.isnan().any(), look)


def check_scale(factor: float, offset: float) -> None:
    """Raise a `ValueError` unless `offset + factor * y` are finite numbers in the order of `y`."""
    if not (0 < factor < math.inf and math.isfinite(offset)):
        raise ValueError(
            f"`factor` is {factor} and `offset` {offset}, expected finite numbers, `factor` above "
            "0: the standard deviation and the mean by which targets were standardised."
        )


def check_variances(value: Tensor, name: str, remedy: str = ": square standard deviations") -> None:
    """Raise a `ValueError` if one of the variances is below 0."""

    def look() -> None:
        raise ValueError(
            f"`{name}` has a variance of {float(value.min()):.4g}, expected at least 0{remedy}."
        )

    if value.numel():
        doubt(value.amin, look, wrong=_is_negative)


def finite_numbers(value: ArrayLike, name: str) -> Tensor:
    """Return `value` as floating-point numbers, none of them NaN or infinite."""
    numbers = as_tensor(value, name)
    # Integers of more than seven digits have no place in float32.
    numbers = at_least_float32(numbers) if numbers.is_floating_point() else numbers.double()
    check_finite(numbers, name, "check the network's weights and inputs")
    return numbers


def numbers_like(centre: Tensor, y: ArrayLike) -> Tensor:
    """Return targets in float64 where `centre` is, or on the CPU if that device has none.

    Infinite ones may pass.

    Raises:
        ValueError: if they have another shape, or NaN among them.
    """
    target = as_tensor(y, "y").to(exact_device(centre.device)).double()
    check_same_shape(target, "y", tuple(centre.shape), "the predicted numbers")
    nans = int(target.isnan().sum())
    if nans:
        raise ValueError(f"`y` has {nans} NaN of {target.numel()} values: remove or replace them.")
    return target


def valid_tolerance(tolerance: float | None) -> float:
    """Return the largest error that is not bad, in units of the target, if it is one."""
    if tolerance is None or not 0 <= tolerance < math.inf:
        raise ValueError(
            f"`tolerance` is {tolerance!r}, expected for predictions of numbers the largest "
            "error that is not bad, in units of the target; or give `is_bad`."
        )
    return tolerance
