"""Probabilities and logits of classes: whether they are what they should be, and their logs."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, at_least_float32, check_finite, check_not_empty

__all__ = ["check_logits", "check_probs", "log_probs_from", "odd_probs"]

_TOLERANCE = 1e-3  # probabilities stored as float16 sum to one only this well
_EXACT = 1e-5  # sums of float32 are this close to one
_ROUNDED = 0.011  # probabilities of few digits sum to 0.99 or 1.01


def check_probs(
    probs: Tensor, name: str = "probs", remedy: str = "pass raw outputs as `logits=`"
) -> Tensor:
    """Return distributions over classes `(N, C, *positions)`, bit by bit as they came.

    But for what rounding did: negative numbers of at most 0.001 become 0, and sums that are off by
    more than float32 rounds, and at most 0.001, become 1. Integers, 0 and 1, become float64.

    Raises:
        ValueError: if they are none; with the remedy for what are no probabilities at all.

    >>> check_probs(torch.tensor([[1.0, -1e-9], [0.5, 0.5]]))
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]])
    """
    if probs.ndim < 2 or probs.shape[1] == 1:
        raise ValueError(
            f"`{name}` has shape {tuple(probs.shape)}, expected (N, C) or (N, C, *positions): for "
            f"two classes given as one column, stack `1 - {name}` and `{name}`."
        )
    check_not_empty(probs, name)
    if not probs.is_floating_point():
        probs = probs.double()
    tolerance = max(_TOLERANCE, torch.finfo(probs.dtype).eps)  # bfloat16 rounds by more
    if not bool(odd_probs(probs)):
        return probs
    check_finite(probs, name)
    low, high = float(probs.min()), float(probs.max())
    sums = probs.sum(1, keepdim=True, dtype=torch.float64)
    worst = float((sums - 1).abs().max())
    if low >= -tolerance and high <= 1 + _ROUNDED and tolerance < worst <= _ROUNDED:
        raise ValueError(
            f"`{name}` sums over dimension 1, the classes, to a number {worst:.4g} away from 1, "
            "expected 1, as of probabilities that were rounded: divide by their sum, "
            f"`{name} / {name}.sum(1, keepdims=True)`."
        )
    if low < -tolerance or high > 1 + tolerance:
        raise ValueError(f"`{name}` lies in [{low:.4g}, {high:.4g}], expected [0, 1]: {remedy}.")
    if worst > tolerance:
        raise ValueError(
            f"`{name}` sums over dimension 1, the classes, to a number {worst:.4g} away from 1, "
            f"expected 1: {remedy}."
        )
    return _mended(probs, sums)


def odd_probs(probs: Tensor) -> Bool[Tensor, ""]:
    """Return whether two fast passes cannot tell that nothing is wrong or to be mended.

    >>> odd_probs(torch.tensor([[0.25, 0.75]])), odd_probs(torch.tensor([[0.25, 0.8]]))
    (tensor(False), tensor(True))
    """
    if math.log2(probs.shape[1]) * torch.finfo(probs.dtype).eps > _EXACT / 4:
        return torch.tensor(True)  # sums in this dtype are too rough to tell
    low, high = probs.aminmax()  # NaN where there is any
    off = (probs.sum(1) - 1).abs().max()
    return ~((low >= 0) & (high <= 1 + _EXACT) & (off <= _EXACT / 2))


def _mended(probs: Tensor, sums: Tensor) -> Tensor:
    """Return `probs` without what rounding did to them, where it did."""
    if bool((probs < 0).any()):
        probs = probs.clamp(min=0)
        sums = probs.sum(1, keepdim=True, dtype=torch.float64)
    off = (sums - 1).abs() > _EXACT
    if not bool(off.any()):
        return probs
    wide = at_least_float32(probs)
    return wide / torch.where(off, sums, 1.0).to(wide.dtype)


def check_logits(logits: Tensor) -> None:
    """Raise a `ValueError` unless `logits` have the shape `(N, C, *positions)`, with C > 1."""
    if logits.ndim < 2 or logits.shape[1] == 1:
        raise ValueError(
            f"`logits` has shape {tuple(logits.shape)}, expected (N, C) or (N, C, *positions): for "
            "two classes given as one column, stack zeros and `logits`."
        )
    check_not_empty(logits, "logits")


def log_probs_from(probs: ArrayLike | None, logits: ArrayLike | None) -> Tensor:
    """Return log-probabilities `(N, C, *positions)` from just one of `probs` and `logits`, in nats.

    Raises:
        TypeError: if both or neither are given.
        ValueError: if they are no distributions (`probs`) or hold NaN (`logits`).

    >>> log_probs_from(None, [[0.0, 0.0]]).exp()
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    if (probs is None) == (logits is None):
        raise TypeError("give either `probs` or `logits=`, not both and not neither.")
    if probs is not None:
        return at_least_float32(check_probs(as_tensor(probs, "probs"))).log()
    values = as_tensor(logits, "logits")  # type: ignore[arg-type]
    check_logits(values)
    log_probs = at_least_float32(values).log_softmax(1)
    if bool(log_probs.isnan().any()):
        raise ValueError(
            "`logits` has NaN or +infinite values, or -infinite ones for all classes: remove or "
            "replace them."
        )
    return log_probs
