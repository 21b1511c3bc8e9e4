"""Precision of a training: autocast to 16 bits, and losses scaled so that gradients fit."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from duda.checks import nearest

__all__ = ["Scaling", "autocast", "check_precision"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_MOST = 32  # steps in a row that may overflow; by then the loss is scaled by less than 1e-4


def check_precision(precision: Any) -> None:
    """Raise a `ValueError` unless it is None, or the name of a precision."""
    if precision is not None and precision not in _DTYPES:
        raise ValueError(nearest(str(precision), tuple(_DTYPES), "`precision`"))


def autocast(precision: str | None, like: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which networks compute in this precision, beside such a weight.

    Raises:
        ValueError: if the device cannot, or the weights are no float32, which is what is cast.

    >>> with autocast("bf16", torch.ones(1)):
    ...     torch.nn.Linear(2, 1)(torch.ones(1, 2)).dtype
    torch.bfloat16
    """
    if precision is None:
        return nullcontext()
    if like.dtype != torch.float32:
        raise ValueError(
            f"`precision` is {precision!r}, but the weights are {like.dtype}, expected "
            "torch.float32, which is cast as it is needed: call `model.float()`, or leave it out."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch would go on without
            return torch.autocast(like.device.type, _DTYPES[precision])
    except (RuntimeError, UserWarning) as error:
        raise ValueError(
            f"`precision` is {precision!r}, which torch does not have on {like.device.type} "
            f"({str(error).splitlines()[0].rstrip('.')}): give another one, or leave it out."
        ) from error


class Scaling:
    """Losses multiplied by a large number, as gradients are small; steps that overflow left out.

    After each of these the number is halved, after many others doubled. Whether a step overflows is
    read from the device at each. Source: Micikevicius et al. 2018, section 3.2.

    Args:
        device: of the weights.

    Attributes:
        skipped: how many steps were left out so far.
    """

    def __init__(self, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type)
        self.skipped = self._in_a_row = 0

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss whose gradients are to be taken."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients, once for each step and before it."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """Make a step unless gradients overflowed, and return whether it was made.

        Raises:
            FloatingPointError: if too many in a row were not.
        """
        before = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        made = self._scaler.get_scale() >= before
        self._in_a_row = 0 if made else self._in_a_row + 1
        self.skipped += not made
        if self._in_a_row == _MOST:
            raise FloatingPointError(
                f"`precision` is 'fp16', and {_MOST} steps in a row overflowed, at last with "
                f"losses scaled by {before:.2g}: give 'bf16', lower `lr`, or look for extreme "
                "inputs; the weights are left as before these steps."
            )
        return made

    def state(self) -> dict[str, Any]:
        """Return all that decides the next steps."""
        return {
            "scaler": self._scaler.state_dict(),
            "skipped": self.skipped,
            "in_a_row": self._in_a_row,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._scaler.load_state_dict(state["scaler"])
        self.skipped, self._in_a_row = state["skipped"], state["in_a_row"]
