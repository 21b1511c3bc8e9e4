"""Metric inputs: what every metric asks of them; they come out checked.

They stay on their device if it has float64; what is to fit something goes to that one's device.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from duda.checks import (
    ArrayLike,
    as_tensor,
    check_finite,
    check_not_empty,
    check_same_shape,
    check_whole,
)
from duda.devices import on_exact_device
from duda.probabilities import check_probs, log_probs_from

__all__ = [
    "binary_labels",
    "class_log_probs",
    "class_probs",
    "flags",
    "hard_labels",
    "label_shares",
    "numbers",
    "ordered_ends",
    "scores",
    "spreads",
    "which_count",
]

Y = TypeVar("Y")


def class_log_probs(
    probs: ArrayLike | None, logits: ArrayLike | None
) -> Float[Tensor, "N C *positions"]:
    """Return log-probabilities in nats and float64, from just one of `probs` and `logits`."""
    probs = None if probs is None else _widened(probs, "probs")
    logits = None if logits is None else _widened(logits, "logits")
    return log_probs_from(probs, logits)


def class_probs(
    probs: ArrayLike | None, logits: ArrayLike | None
) -> Float[Tensor, "N C *positions"]:
    """Return probabilities from just one of `probs`, as `check_probs` has them, and `logits`."""
    if probs is None or logits is not None:
        return class_log_probs(probs, logits).exp()
    return check_probs(on_exact_device(as_tensor(probs, "probs")))


def hard_labels(
    y: ArrayLike | None,
    shape: tuple[int, ...],
    ignore_index: int | None = None,
    name: str = "y",
    device: torch.device | str = "cpu",
) -> Int[Tensor, "N *positions"]:
    """Return integer labels on `device` that fit predictions of `shape` `(N, C, *positions)`.

    Labels equal to `ignore_index` need not be classes. Errors call them by their `name`.

    >>> hard_labels([0, 1], (2, 2))
    tensor([0, 1])
    """
    labels = _labels(y, name, device)
    if labels.is_floating_point():
        raise ValueError(
            f"`{name}` has dtype {labels.dtype}, expected integer labels: call `{name}.long()`, or "
            f"`{name}.argmax(1)` on shares of votes."
        )
    expected = (shape[0], *shape[2:])
    if tuple(labels.shape) == tuple(shape):
        raise ValueError(
            f"`{name}` has shape {tuple(shape)}, a number for each class, expected class numbers "
            f"of shape {expected}: call `{name}.argmax(1)`."
        )
    check_same_shape(labels, name, expected, "the predictions without their classes")
    labels = labels.long()
    wrong = (labels < 0) | (labels >= shape[1])
    if ignore_index is not None:
        wrong &= labels != check_whole(ignore_index, "ignore_index")
    if bool(wrong.any()):
        raise ValueError(
            f"`{name}` holds the label {int(labels[wrong][0])}, expected 0 to {shape[1] - 1}: "
            "leave out what has no label."
        )
    return labels


def binary_labels(y: Y, shape: tuple[int, ...]) -> Y | Tensor:
    """Return labels of two classes that came as a loss on one logit takes them as whole numbers.

    Such are floating-point 0 and 1, or others to be ignored, `(N, *positions)` or as a column.
    What else it is passes as it is.

    >>> binary_labels(torch.tensor([[0.0], [1.0]]), (2, 2))
    tensor([0, 1])
    """
    if shape[1] != 2 or y is None:
        return y
    values, expected = as_tensor(y, "y"), (shape[0], *shape[2:])  # type: ignore[arg-type] # labels
    column = (shape[0], 1, *shape[2:])
    if not values.is_floating_point() or tuple(values.shape) not in (expected, column):
        return y
    broken = values[values != values.round()]  # NaN is another than itself
    if len(broken):
        raise ValueError(
            f"`y` holds {broken[0].item():.4g}, expected 0 or 1: give shares of votes for both "
            "classes, `torch.stack([1 - y, y], dim=1)`."
        )
    return values.reshape(expected).long()


def label_shares(
    y: ArrayLike | None,
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
    *,
    may_be_zero: bool = False,
) -> Float[Tensor, "N C *positions"]:
    """Return each class's share of the votes: `y` itself where it is soft, else zeros and a one.

    Where nobody voted, all shares may be 0 if that is said.
    """
    values = _labels(y, "y", device)
    same = tuple(values.shape) == tuple(shape)
    if not values.is_floating_point() and not same:
        labels = hard_labels(values, shape, device=device)
        zeros = torch.zeros(shape, dtype=torch.float64, device=device)
        return zeros.scatter_(1, labels.unsqueeze(1), 1.0)
    if not same:
        raise ValueError(
            f"`y` has dtype {values.dtype} and shape {tuple(values.shape)}, expected soft labels "
            f"of shape {tuple(shape)}: call `y.long()` if they are class numbers."
        )
    voted = (values != 0).any(1, keepdim=True) if may_be_zero else torch.ones(()) > 0
    remedy = "divide votes by their sum; zeros, where nobody voted, need an `ignore_index`"
    shares = check_probs(values.where(voted.to(device), 1 / shape[1]), "y", remedy)
    return shares.double().where(voted.to(device), 0)


def scores(value: ArrayLike, name: str = "score") -> Shaped[Tensor, "*shape"]:
    """Return numbers that can be ordered: infinite ones may pass, NaN may not."""
    values = _widened(value, name)
    check_not_empty(values, name)
    if values.is_complex():
        raise ValueError(f"`{name}` has dtype {values.dtype}, expected numbers that have an order.")
    nans = int(values.isnan().sum())
    if nans:
        raise ValueError(
            f"`{name}` has {nans} NaN of {values.numel()} values, which have no rank: remove or "
            "replace them."
        )
    return values


def numbers(value: ArrayLike, name: str, like: Tensor | None = None) -> Float[Tensor, "*shape"]:
    """Return finite numbers, at least one, in float64, of shape and device of `like` if given.

    >>> numbers([1, 2], "y")
    tensor([1., 2.], dtype=torch.float64)
    """
    values = as_tensor(value, name)
    values = (on_exact_device(values) if like is None else values.to(like.device)).double()
    if like is not None:
        check_same_shape(values, name, tuple(like.shape), "the predicted numbers")
    check_finite(values, name)
    check_not_empty(values, name)
    return values


def spreads(value: ArrayLike, like: Tensor | None = None) -> Float[Tensor, "*shape"]:
    """Return standard deviations in float64, of shape and device of `like` if given.

    >>> spreads([0.0, 1.0])
    tensor([0., 1.], dtype=torch.float64)
    """
    values = numbers(value, "std", like)
    if float(values.min()) < 0:
        raise ValueError(
            f"`std` holds {float(values.min()):.4g}, expected standard deviations of at least 0."
        )
    return values


def ordered_ends(
    lower: ArrayLike, upper: ArrayLike
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return the ends of intervals in float64: infinite ones may pass, crossed ones may not."""
    low, high = scores(lower, "lower").double(), scores(upper, "upper").double()
    high = high.to(low.device)
    check_same_shape(high, "upper", tuple(low.shape), "`lower`")
    crossed = int((low > high).sum())
    if crossed:
        raise ValueError(
            f"`lower` is above `upper` in {crossed} of {low.numel()} intervals, expected it below: "
            "swap them there."
        )
    nowhere = int((low.isinf() & (low == high)).sum())
    if nowhere:
        raise ValueError(
            f"`lower` and `upper` are the same infinity in {nowhere} of {low.numel()} intervals, "
            "expected at least one end elsewhere: remove or replace them."
        )
    return low, high


def flags(value: ArrayLike, name: str, like: Tensor, of: str) -> Bool[Tensor, "*shape"]:
    """Return yes and no for each entry of `like`, from booleans or the numbers 0 and 1.

    >>> flags([1, 0], "correct", torch.tensor([0.9, 0.4]), "`confidence`")
    tensor([ True, False])
    """
    values = as_tensor(value, name).to(like.device)
    check_same_shape(values, name, tuple(like.shape), of)
    neither = (values != 0) & (values != 1)
    if bool(neither.any()):
        raise ValueError(
            f"`{name}` holds {values[neither][0].item():.4g}, expected booleans or 0 and 1."
        )
    return values == 1


def which_count(
    mask: ArrayLike | None, like: Tensor, of: str, may_be_empty: bool = False
) -> Bool[Tensor, "*shape"]:
    """Return which entries of `like` count: where `mask` says so, or all without one.

    >>> which_count([1, 0], torch.zeros(2), "`y`")
    tensor([ True, False])
    """
    if mask is None:
        return torch.ones((), dtype=torch.bool, device=like.device).expand(like.shape)
    kept = flags(mask, "mask", like, of)
    if not may_be_empty and not bool(kept.any()):
        raise ValueError("`mask` is False everywhere, expected at least one target to count.")
    return kept


def _widened(value: ArrayLike, name: str) -> Tensor:
    """Return `value` in float64 where it is floating-point, so that no digit is lost later."""
    values = on_exact_device(as_tensor(value, name))
    return values.double() if values.is_floating_point() else values


def _labels(y: ArrayLike | None, name: str, device: torch.device | str) -> Tensor:
    if y is None:
        raise TypeError(f"`{name}` is missing: give the labels to compare with.")
    return as_tensor(y, name).to(device)
