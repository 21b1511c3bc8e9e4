"""Detectors on logits: functions of what a network puts out, with nothing to learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch
from duda.checks import ArrayLike, as_tensor
from duda.detectors.base import Detector
from duda.detectors.features import Positions, read_logits
from duda.inputs import class_log_probs

__all__ = ["LogitDetector", "checked_logits"]


class LogitDetector(Detector):
    """A detector on logits `(N, C, *positions)`: `score` needs no `fit`."""

    def fit(self, x: ArrayLike | None = None, y: ArrayLike | None = None) -> Self:
        """Learn nothing, and return itself.

        Raises:
            ValueError: if `x` are no logits.
        """
        if x is not None:
            checked_logits(x)
        return self

    def read(
        self,
        network: nn.Module,
        batches: Iterable[Batch],
        layer: str | None,
        positions: Positions | None,
    ) -> Float[Tensor, "N C *positions"]:
        """Return the network's logits of inputs, as `logits_of` does.

        Raises:
            ValueError: if a layer or positions are chosen.
        """
        if layer is not None or positions is not None:
            raise ValueError(
                f"`layer` is {layer!r} and `positions` {positions!r}, expected neither: a "
                f"{type(self).__name__} takes what the network puts out."
            )
        return read_logits(network, batches)


def checked_logits(logits: ArrayLike) -> Float[Tensor, "N C *positions"]:
    """Return logits in float64 on the CPU, as they came.

    Raises:
        ValueError: if they hold NaN or no classes.
    """
    class_log_probs(None, logits)  # asks of them what every metric does
    return as_tensor(logits, "logits").cpu().double()
