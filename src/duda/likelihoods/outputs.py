"""Raw outputs as networks give them: classes on another dimension, softmax where logits belong."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from duda.checks import at_least_float32
from duda.doubts import doubt, waiting
from duda.probabilities import check_probs

__all__ = [
    "CHANCE",
    "CHANCE_IN_A_STEP",
    "check_dim",
    "check_no_probs",
    "check_raw",
    "few_rows",
    "in_groups",
    "log_of_probs",
    "one_column",
    "outputs_first",
]

# How likely logits may look like probabilities by chance: in a prediction, and in one of many steps
# of a training.
CHANCE = 1e-6
CHANCE_IN_A_STEP = 1e-12
_FEW_ROWS, _FEW_PLACES = 64, 8  # to look at later, and how many of each dimension of positions


def check_dim(dim: int | None, name: str) -> None:
    """Raise a `ValueError` unless a dimension is None, 1 or -1."""
    if dim not in (None, 1, -1):
        raise ValueError(f"`{name}` is {dim!r}, expected 1, or -1 for the last dimension.")


def outputs_first(values: Tensor, given: int | None, dim: int = 1) -> Tensor:
    """Return outputs or targets with what was `given` as the last dimension moved to `dim`.

    >>> outputs_first(torch.zeros(2, 7, 3), -1).shape, outputs_first(torch.zeros(2, 3), -1).shape
    (torch.Size([2, 3, 7]), torch.Size([2, 3]))
    """
    return values.movedim(-1, dim) if given == -1 and values.ndim > dim + 1 else values


def in_groups(outputs: Tensor, count: int, dim: int, each: str) -> Tensor:
    """Return outputs with `dim` split into `count` groups of D, one for `each`.

    Raises:
        ValueError: if there are none, or they do not come in so many groups.

    >>> in_groups(torch.zeros(5, 6), 3, 1, "each of the 3 levels").shape
    torch.Size([5, 3, 2])
    """
    if outputs.ndim <= dim or outputs.shape[dim] == 0 or outputs.shape[dim] % count:
        raise ValueError(
            f"the network's outputs have shape {tuple(outputs.shape)}, expected {count} D "
            f"numbers on dimension {dim}: D for {each}."
        )
    size = (count, outputs.shape[dim] // count)
    return outputs.reshape(*outputs.shape[:dim], *size, *outputs.shape[dim + 1 :])


def one_column(y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return targets `(N,)` as `(N, 1)` where this is the shape of the predicted numbers."""
    return y.unsqueeze(1) if y.ndim == 1 and shape == (len(y), 1) else y


def log_of_probs(outputs: Tensor, dim: int = 1) -> Tensor:
    """Return the logarithms of a network's probabilities, which serve as its logits.

    Raises:
        ValueError: if they are no probabilities.
    """
    probs = check_probs(outputs.movedim(dim, 1), "outputs", "leave `probs` out for logits")
    return probs.movedim(1, dim).log()


def check_no_probs(outputs: Tensor, remedy: str, chance: float = CHANCE) -> None:
    """Raise a `ValueError` if outputs `(N, C, *positions)` are those of a softmax.

    They are if all lie in [0, 1] and add up to 1 but for rounding, in so many rows that logits do
    so with a probability below `chance`. Rows of zeros and a one do not count, because people write
    such logits; where all classes have the same a softmax makes no difference.

    >>> check_no_probs(torch.tensor([[1.0, 2.0]]), "logits")
    """
    if not _may_be_probs(outputs):
        return

    def look() -> None:
        if _are_probs(outputs, chance):
            raise ValueError(
                "the network's outputs lie in [0, 1] and add up to 1 for each example, as after a "
                f"softmax, expected {remedy}."
            )

    doubt(lambda: _near_probs(_looked_at(outputs)), look, outputs.nbytes)


def check_raw(outputs: Tensor, expected: str, chance: float = CHANCE) -> None:
    """Raise a `ValueError` if outputs that may be any numbers are those of a (log-)softmax."""
    remedy = f"{expected}, which may be any numbers: remove that last layer"
    check_no_probs(outputs, remedy, chance)
    if _may_be_probs(outputs):
        doubt(
            lambda: _near_probs(_looked_at(outputs).exp()),
            lambda: check_no_probs(outputs.exp(), remedy, chance),
            outputs.nbytes,
        )


def few_rows(outputs: Tensor, given: int | None) -> Tensor:
    """Return a copy of some outputs, enough to know those of a softmax, for a look later.

    >>> few_rows(torch.zeros(999, 3, 640, 480), None).shape
    torch.Size([64, 3, 8, 8])
    """
    few = outputs.detach()[:_FEW_ROWS]
    classes = few.ndim - 1 if given == -1 else 1
    for dim in range(1, few.ndim):
        few = few if dim == classes else few.narrow(dim, 0, min(_FEW_PLACES, few.shape[dim]))
    return few.clone()


def _may_be_probs(outputs: Tensor) -> bool:
    """Return whether outputs have the shape and dtype of probabilities."""
    right = outputs.ndim > 1 and outputs.shape[1] > 1 and 0 not in outputs.shape
    return right and outputs.is_floating_point()


def _looked_at(outputs: Tensor) -> Tensor:
    """Return one example, or where a closer look comes late all of them, so that it is rare."""
    return outputs if waiting() else outputs[:1]


def _near_probs(outputs: Tensor) -> Tensor:
    """Return whether all rows are distributions, as well as the shortest floats can tell."""
    rounding = torch.finfo(torch.bfloat16).eps * (2 + math.sqrt(outputs.shape[1]))
    low, high = outputs.detach().aminmax()
    off = (at_least_float32(outputs.detach()).sum(1) - 1).abs().max()
    return (low >= 0) & (high <= 1 + rounding) & (off <= rounding)


def _are_probs(outputs: Tensor, chance: float) -> bool:
    """Return whether all rows are distributions, as logits are with less than this chance."""
    outputs = outputs.detach()
    classes = outputs.shape[1]
    rounding = _eps(outputs) * (2 + math.sqrt(classes))
    low, high = outputs.aminmax()
    if not (low >= 0 and high <= 1 + rounding):
        return False
    exact = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    worst = float((exact.sum(1) - 1).abs().max())
    if worst > rounding:
        return False
    if bool((outputs == outputs[:, :1]).all()):
        return False
    # Each of C logits lies in [0, 1] in half of all rows, and their sum that near to 1 in so many.
    each = math.log(2 * rounding) - (classes - 1) * math.log(2)
    rows = exact.movedim(1, -1).flatten(0, -2)
    rows = rows[((rows > 0) & (rows < 1)).any(1)]
    rows = torch.unique(rows, dim=0)  # those of the same inputs are the same
    return each * len(rows) < math.log(chance)


def _eps(outputs: Tensor) -> float:
    """Return the rounding of the shortest floating-point numbers that hold outputs as they are."""
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        if torch.equal(outputs.to(dtype).to(outputs.dtype), outputs):
            return torch.finfo(dtype).eps
    return torch.finfo(outputs.dtype).eps
