"""Input checks: arrays become tensors, bad input a sentence that teaches."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from duda.doubts import doubt

__all__ = [
    "ArrayLike",
    "as_tensor",
    "at_least_float32",
    "check_above_0",
    "check_at_least_0",
    "check_count",
    "check_finite",
    "check_flag",
    "check_not_empty",
    "check_same_shape",
    "check_share",
    "check_unmasked",
    "check_whole",
    "counted",
    "doubt_finite",
    "exact_share",
    "nearest",
    "plain_number",
    "seeded",
]

ArrayLike = Tensor | np.ndarray | list[Any] | tuple[Any, ...] | float

_PLAIN = 10**6  # the largest denominator of a fraction that somebody means
_ROUNDING = 1e-15  # of a few operations on shares


def as_tensor(value: ArrayLike, name: str) -> Tensor:
    """Return `value` as a detached tensor; numpy's floats keep their precision up to float64.

    Raises:
        TypeError: if `value` is nothing that holds numbers.

    >>> as_tensor([[0.5, 0.5]], "probs").shape
    torch.Size([1, 2])
    """
    if isinstance(value, Tensor):
        return value if type(value) is Tensor and not value.requires_grad else value.detach()
    check_unmasked(value, name)
    try:
        return torch.from_numpy(_known_to_torch(np.array(value)))
    except (TypeError, ValueError) as error:
        why = str(error).rstrip(".")
        raise TypeError(
            f"`{name}` is a {type(value).__name__}, expected a tensor or array of numbers: {why}."
        ) from None


def check_unmasked(value: Any, name: str) -> None:
    """Raise a `ValueError` that counts the masked values of numpy's masked arrays.

    What lies beneath a mask, often -9999, would count as any other number.

    >>> check_unmasked(np.ma.masked_array([1.0, -9999.0], mask=[False, False]), "y")
    """
    arrays = list(_masked_arrays(value))
    masked = sum(int(np.ma.getmaskarray(each).sum()) for each in arrays)
    if masked:
        total = sum(each.size for each in arrays)
        raise ValueError(
            f"`{name}` is a masked array with {masked} of {total} values masked, expected all to "
            f"count: leave them out, or give `{name}.data`, and `mask=~{name}.mask` where there is "
            "one."
        )


def _masked_arrays(value: Any) -> Iterator[Any]:
    """Yield the masked arrays in lists of any depth."""
    if isinstance(value, np.ma.MaskedArray):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            if not isinstance(part, int | float):  # as most are
                yield from _masked_arrays(part)


def _known_to_torch(array: np.ndarray) -> np.ndarray:
    """Return `array` in the machine's byte order, float64 in place of longdouble: torch has one.

    Objects that are all numbers, as tables with missing entries hold them, are an array of numbers.
    """
    objects = array.dtype == object and array.size
    if objects and all(isinstance(each, numbers.Real) for each in array.flat):
        array = np.array(array.tolist())
    if array.dtype.type is np.longdouble:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def at_least_float32(value: Tensor) -> Tensor:
    """Return `value` in float32 where its dtype is an integer or a shorter float.

    >>> at_least_float32(torch.tensor([1, 2])).dtype
    torch.float32
    """
    wide = _wide(value.dtype)
    return value if value.dtype is wide else value.to(wide)


@cache  # for torch it is a call like any other
def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def check_not_empty(value: Tensor | np.ndarray, name: str) -> None:
    """Raise a `ValueError` if `value` has no entries."""
    if 0 in value.shape:
        raise ValueError(
            f"`{name}` has shape {tuple(value.shape)} and is empty, expected at least one example."
        )


def plain_number(value: Any) -> float | None:
    """Return a number of Python or numpy as one of Python, None for anything else and for bools.

    A short float becomes the decimal number that it is written as.

    >>> [plain_number(value) for value in (np.float32(0.1), np.int64(3), True, "1")]
    [0.1, 3, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(str(value)) if isinstance(value, np.floating) else float(value)


def check_whole(value: Any, name: str) -> int:
    """Return `value` as an int if it is a whole number, else raise a `ValueError`."""
    whole = plain_number(value)
    if not isinstance(whole, int):
        raise ValueError(f"`{name}` is {value!r}, expected a whole number.")
    return whole


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return `value` as an int if it is a whole number of at least `least`.

    Raises:
        ValueError: if it is not.
    """
    whole = plain_number(value)
    if not isinstance(whole, int) or whole < least:
        raise ValueError(f"`{name}` is {value!r}, expected a whole number of at least {least}.")
    return whole


def check_flag(value: Any, name: str) -> None:
    """Raise a `ValueError` unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` is {value!r}, expected True or False.")


def check_at_least_0(value: Any, name: str, what: str = "number") -> float:
    """Return `value` as a float if it is a finite number of at least 0.

    Raises:
        ValueError: if it is not.
    """
    number = plain_number(value)
    if number is None or not 0 <= number < math.inf:
        raise ValueError(f"`{name}` is {value!r}, expected a finite {what} of at least 0.")
    return number


def check_above_0(value: Any, name: str) -> float:
    """Return `value` if it is a finite number above 0.

    Raises:
        ValueError: if it is not.
    """
    number = plain_number(value)
    if number is None or not 0 < number < math.inf:
        raise ValueError(f"`{name}` is {value!r}, expected a number above 0.")
    return number


def check_share(value: Any, name: str) -> float:
    """Return `value` as a float if it is a number between 0 and 1, both excluded.

    Raises:
        ValueError: if it is not.
    """
    share = plain_number(value)
    if share is None or not 0 < share < 1:
        raise ValueError(
            f"`{name}` is {value!r}, expected a share between 0 and 1, such as 0.05 for 5 %."
        )
    plain = float(exact_share(share))
    return share if plain == share else plain  # the very object, as clones of scikit-learn ask for


def exact_share(share: float) -> Fraction:
    """Return the plain fraction that rounding has moved, as in 1 - 0.9, or else the share itself.

    Ranks are such shares of a number of examples, rounded up: one unit in the last digit counts.

    >>> exact_share(1 - 0.9), exact_share(2 / 3)
    (Fraction(1, 10), Fraction(2, 3))
    """
    written = Fraction(share)
    plain = written.limit_denominator(_PLAIN)
    return plain if abs(plain - written) < _ROUNDING else written


def check_finite(
    value: Tensor, name: str, remedy: str = "remove or replace them", *, held: int = 0
) -> None:
    """Raise a `ValueError` that counts the NaN and infinite entries of `value`.

    Args:
        value: any tensor.
        name: of the argument.
        remedy: what to do.
        held: how many bytes live on for the error alone, where it comes later.
    """
    doubt_finite(value, partial(_check_each, value, name, remedy), held)


def doubt_finite(value: Tensor, look: Callable[[], object], held: int = 0) -> None:
    """Call `look` if numbers may be NaN or infinite, and if they are; see `doubt`.

    >>> doubt_finite(torch.tensor([1.0, float("nan")]), lambda: print("odd"))
    odd
    """
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    if value.is_floating_point():
        # A single pass, since NaN and infinite values never add up to a finite one. Sums of short
        # floats would overflow.
        doubt(lambda: value.sum(dtype=_wide(value.dtype)), look, held, wrong=_not_finite)


def _not_finite(total: float) -> bool:
    return not math.isfinite(total)


def _check_each(value: Tensor, name: str, remedy: str) -> None:
    """Raise the error, unless numbers that are all finite have a sum that is not."""
    bad = int((~torch.isfinite(value)).sum())
    if bad:
        nans = int(torch.isnan(value).sum())
        first = torch.nonzero(~torch.isfinite(value))[0].tolist()
        raise ValueError(
            f"`{name}` has {nans} NaN and {bad - nans} infinite values, the first at index "
            f"{first}: {remedy}."
        )


def check_same_shape(value: Tensor, name: str, expected: tuple[int, ...], of: str) -> None:
    """Raise a `ValueError` naming both shapes, and the remedy where there is a plain one."""
    found = tuple(value.shape)
    if found == tuple(expected):
        return
    remedy = f"reshape it to match {of}"
    if found == (*expected, 1):
        remedy = f"call `{name}.squeeze({len(expected)})`"
    elif (*found, 1) == tuple(expected):
        remedy = f"call `{name}.unsqueeze({len(found)})`"
    raise ValueError(f"`{name}` has shape {found}, expected {tuple(expected)}: {remedy}.")


def seeded(seed: Any) -> torch.Generator | None:
    """Return a generator on the CPU that starts from `seed`; None, torch's global one, without.

    Raises:
        ValueError: if it is no whole number.
    """
    return None if seed is None else torch.Generator().manual_seed(check_whole(seed, "seed"))


def counted(count: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless there is just one.

    >>> counted(1, "example"), counted(2000, "example")
    ('1 example', '2,000 examples')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def nearest(word: Any, known: Iterable[str], what: str) -> str:
    """Return the sentence for an unknown name: what was asked, what is near, what there is.

    >>> nearest("mcdropout", ["mc-dropout", "deterministic"], "method")
    "unknown method 'mcdropout': did you mean 'mc-dropout'? Known: mc-dropout, deterministic."
    """
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), names, n=3, cutoff=0.5)
    hint = f" did you mean {' or '.join(repr(names[name]) for name in close)}?" if close else ""
    return f"unknown {what} {word!r}:{hint} Known: {', '.join(names.values())}."
