"""Numbers to compare: predictions and targets, checked, in float64 and on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty, check_same_shape
from duda.devices import on_exact_device
from duda.inputs import which_count
from duda.predictions import NumberPrediction
from duda.predictions.given import NumbersGiven, number_prediction

__all__ = ["Compared", "blocks", "check_members", "compared"]

_NUMBERS_IN_A_BLOCK = 2**16  # what fits into the caches of a processor
_ELSEWHERE = 2**20  # of each draw


@dataclass(frozen=True, eq=False)
class Compared:
    """A prediction of numbers, what it is compared with, and which of that counts.

    It is gone through in blocks in float64, as numbers may be large beside their spread.
    """

    prediction: NumberPrediction
    y: Float[Tensor, "N D *positions"]
    counted: Bool[Tensor, "N D *positions"]

    def __iter__(self) -> Iterator[tuple[NumberPrediction, Tensor, Tensor]]:
        for part in blocks(self.y):
            rows = self.prediction[part].to(self.y.device, torch.float64)
            yield rows, self.y[part], self.counted[part]

    def each(
        self, measure: Callable[[NumberPrediction, Tensor], Float[Tensor, "n D *positions"]]
    ) -> Float[Tensor, "K"]:
        """Return what each target that counts has of a measure."""
        return torch.cat([measure(rows, y)[counted] for rows, y, counted in self])


def compared(
    prediction: NumbersGiven,
    y: ArrayLike,
    std: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    instead: str,
    may_be_empty: bool = False,
) -> Compared:
    """Return a prediction, what it is compared with, and which of it counts.

    Where `mask` is False `y` may be anything, NaN too: the predicted number stands there. It may
    be False everywhere only if what counts `may_be_empty`.

    Args:
        prediction: of numbers, or means, then with `std`.
        y: of the shape of the means, or of a prediction's centre.
        std: one for each of the means.
        mask: of `y`'s shape.
        instead: what to call with a prediction of something else.
        may_be_empty: whether `mask` may be False everywhere.
    """
    answer, shape = number_prediction(prediction, std, "prediction", instead)
    centre = on_exact_device(answer.centre)
    values = as_tensor(y, "y").to(centre.device, torch.float64)
    check_not_empty(values, "y")
    check_same_shape(values, "y", shape, "the predicted numbers")
    kept = which_count(mask, values, "`y`", may_be_empty)
    values = torch.where(kept, values, centre.double().reshape(shape))
    check_finite(values, "y", "remove or replace them, or leave them out by `mask`")
    return Compared(answer, values.reshape(centre.shape), kept.reshape(centre.shape))


def check_members(members: Tensor, name: str, y: Tensor) -> None:
    """Raise a `ValueError` unless `members` have the shape `(M, *shape)`, where `y` has `shape`."""
    if members.ndim == 0 or len(members) == 0:
        raise ValueError(
            f"`{name}` has shape {tuple(members.shape)}, expected (M, *shape), M at least 1."
        )
    check_same_shape(members, name, (len(members), *y.shape), "`y`, draws first")


def blocks(values: Tensor) -> Iterator[slice]:
    """Return slices of examples that are to be worked on at once.

    >>> list(blocks(torch.zeros(3, 2**15)))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    numbers = _NUMBERS_IN_A_BLOCK if values.device.type == "cpu" else _ELSEWHERE
    size = max(1, numbers // values[:1].numel())
    for start in range(0, len(values), size):
        yield slice(start, start + size)
