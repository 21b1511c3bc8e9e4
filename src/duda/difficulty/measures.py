"""Difficulty measures of a batch, an entry for each example, checked and in float64."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.inputs import hard_labels

__all__ = ["checked_index", "checked_loss", "class_measures"]

_REMEDY = "lower the learning rate, or look for extreme inputs"


def checked_index(index: ArrayLike, n: int) -> Int[Tensor, "B"]:
    """Return the places of a batch's examples among all n."""
    rows = as_tensor(index, "index").cpu()
    if rows.ndim != 1 or len(rows) == 0 or rows.is_floating_point() or rows.dtype == torch.bool:
        raise ValueError(
            f"`index` has shape {tuple(rows.shape)} and dtype {rows.dtype}, expected whole numbers "
            "(B,), the place of each example in the training data."
        )
    rows = rows.long()
    wrong = (rows < 0) | (rows >= n)
    if bool(wrong.any()):
        raise ValueError(
            f"`index` holds {int(rows[wrong][0])}, expected 0 to {n - 1}: `n` is the number of all "
            "training examples."
        )
    return rows


def checked_loss(value: ArrayLike, name: str, examples: int) -> Float[Tensor, "B"]:
    """Return a loss term, one finite number for each example."""
    loss = as_tensor(value, f"losses[{name!r}]").cpu()
    check_same_shape(loss, f"losses[{name!r}]", (examples,), "`index`")
    check_finite(loss, f"losses[{name!r}]", _REMEDY)
    return loss.double()


def class_measures(
    outputs: ArrayLike, y: ArrayLike | None, examples: int, ignore_index: int | None
) -> tuple[dict[str, Float[Tensor, "B"]], Bool[Tensor, "B"]]:
    """Return numbers by name, and which examples have a position that counts.

    They are the cross-entropy `loss`, the `margin` of the label's logit over the highest other one,
    the label's `prob`, whether it is the first of the most probable ones (`right`), and the
    distance ‖p - onehot(y)‖ (`el2n`); each the mean over the positions that count.

    Raises:
        ValueError: if shapes differ, a label is no class, or outputs are not finite.
    """
    logits = as_tensor(outputs, "outputs").cpu()
    if logits.ndim < 2 or logits.shape[1] < 2 or len(logits) != examples:
        raise ValueError(
            f"`outputs` has shape {tuple(logits.shape)} for {examples} examples in `index`, "
            f"expected ({examples}, C, *positions) with at least two classes: for regression give "
            "`losses=`."
        )
    check_finite(logits, "outputs", _REMEDY)
    labels, counted = _labels(y, ignore_index, tuple(logits.shape))
    logits, place = logits.double(), labels.unsqueeze(1)
    log_probs = logits.log_softmax(1)
    own = log_probs.gather(1, place).squeeze(1)
    others = logits.scatter(1, place, -math.inf).amax(1)
    probs = log_probs.exp()
    away = probs.scatter_add(1, place, torch.full_like(place, -1, dtype=torch.float64))
    each = {
        "loss": -own,
        "margin": logits.gather(1, place).squeeze(1) - others,
        "prob": own.exp(),
        "right": (logits.argmax(1) == labels).double(),
        "el2n": torch.linalg.vector_norm(away, dim=1),
    }
    share = counted.reshape(examples, -1).double()
    positions = share.sum(1)
    found = {
        name: (value.reshape(examples, -1) * share).sum(1) / positions.clamp(min=1)
        for name, value in each.items()
    }
    return found, positions > 0


def _labels(
    y: ArrayLike | None, ignore_index: int | None, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return integer labels, zero where they do not count, and where they do."""
    if y is None or ignore_index is None:
        labels = hard_labels(y, shape)
        return labels, torch.ones_like(labels, dtype=torch.bool)
    given = as_tensor(y, "y").cpu()
    counted = given != ignore_index
    return hard_labels(given.where(counted, 0), shape), counted
