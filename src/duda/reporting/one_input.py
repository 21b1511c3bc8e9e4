"""Curves of one input: what is asked of the methods there, and what is known of the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from duda.checks import as_tensor
from duda.predictions import NumberPrediction

__all__ = ["OneInput"]


@dataclass(frozen=True, eq=False)
class OneInput:
    """A problem with one input and one output, to be shown as a curve.

    Args:
        x: inputs to show, ascending.
        predictions: for these inputs, by method.
        train: inputs and targets that the methods were trained on.
        truth: the true function at `x`, where it is known.
    """

    x: Float[Tensor, "K 1"]
    predictions: Mapping[str, NumberPrediction]
    train: tuple[Float[Tensor, "N 1"], Float[Tensor, "N 1"]]
    truth: Float[Tensor, "K 1"] | None = None

    def __post_init__(self) -> None:
        inputs, outputs = self.train
        object.__setattr__(self, "x", as_tensor(self.x, "x"))
        object.__setattr__(self, "train", (as_tensor(inputs, "train"), as_tensor(outputs, "train")))
        if self.truth is not None:
            object.__setattr__(self, "truth", as_tensor(self.truth, "truth"))
