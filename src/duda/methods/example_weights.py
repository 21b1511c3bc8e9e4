"""Weights of examples: how much each counts in the loss of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from duda.doubts import doubt

__all__ = ["check_example_weights", "example_weights", "weighed"]


@dataclass
class _Given:
    """Weights, and whether a loss has taken them."""

    weights: Float[Tensor, "N"]
    taken: bool = False


_now: ContextVar[_Given | None] = ContextVar("example_weights", default=None)


@contextmanager
def weighed(weights: Float[Tensor, "N"] | None) -> Iterator[None]:
    """Let losses in here be those of examples that count as much as `weights` say.

    Raises:
        ValueError: if the loss takes none.
    """
    if weights is None:
        yield
        return
    given = _Given(weights)
    token = _now.set(given)
    try:
        yield
    finally:
        _now.reset(token)
    if not given.taken:
        raise ValueError(
            "`weight` is given, but this model's loss takes none: let its `training_loss` call "
            "`data_loss`, or leave the weights out."
        )


def example_weights(examples: int) -> Float[Tensor, "N"] | None:
    """Return the weights that a loss of so many examples is to take, if there are some.

    Raises:
        ValueError: if there are more or fewer, or some are negative.
    """
    given = _now.get()
    if given is None:
        return None
    given.taken = True
    check_example_weights(given.weights, examples, "weight")
    return given.weights


def check_example_weights(weights: Tensor, examples: int, name: str) -> None:
    """Raise a `ValueError` unless there is a number of at least 0 for each example."""
    if weights.shape != (examples,):
        raise ValueError(
            f"`{name}` has shape {tuple(weights.shape)}, expected ({examples},): a number for each "
            "example."
        )

    def look() -> None:
        wrong = weights[~(weights >= 0) | weights.isinf()]
        raise ValueError(
            f"`{name}` holds {float(wrong[0]):.4g}, expected finite numbers of at least 0."
        )

    doubt(lambda: (~(weights >= 0) | weights.isinf()).any(), look, weights.nbytes)
