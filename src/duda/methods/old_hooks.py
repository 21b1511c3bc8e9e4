"""Hooks of models by the names that they had in version 0.1; they go in the version after this."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from duda.batches import Batch
from duda.hooks import FitState, Hooks

__all__ = ["OldHooks"]

_NEW = {"starts_epoch": "on_epoch_start", "ends_epoch": "on_epoch_end", "fitted": "on_fit_end"}


class OldHooks(Hooks):
    """Calls `starts_epoch`, `ends_epoch` and `fitted` of subclasses that still define them."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for old, new in _NEW.items():
            if old in vars(cls):
                warnings.warn(
                    f"{cls.__name__} defines `{old}`, which is now `{new}(self, state)`.",
                    DeprecationWarning,
                    stacklevel=2,
                )

    def on_epoch_start(self, state: FitState) -> None:
        """Call `starts_epoch` where a subclass defines it."""
        if self._defines("starts_epoch"):
            self.starts_epoch(state.epoch, state.examples)

    def on_epoch_end(self, state: FitState) -> None:
        """Call `ends_epoch` where a subclass defines it."""
        if self._defines("ends_epoch"):
            self.ends_epoch(state.epoch, state.epochs)

    def on_fit_end(self, state: FitState) -> None:
        """Call `fitted` where a subclass defines it."""
        if self._defines("fitted"):
            self.fitted(state.training_batches)

    def starts_epoch(self, epoch: int | None, examples: int | None) -> None:
        """Do as `on_epoch_start`, which is the name now."""
        last = sys.maxsize if epoch is None else epoch
        self._call("starts_epoch", FitState(epoch=last, examples=examples))

    def ends_epoch(self, epoch: int, epochs: int) -> None:
        """Do as `on_epoch_end`, which is the name now."""
        self._call("ends_epoch", FitState(epoch=epoch, epochs=epochs))

    def fitted(self, batches: Callable[[], Iterator[tuple[Batch, Tensor]]]) -> None:
        """Do as `on_fit_end`, which is the name now."""
        self._call("fitted", FitState(batches=batches))

    def _defines(self, old: str) -> bool:
        return getattr(type(self), old) is not getattr(OldHooks, old)

    def _call(self, old: str, state: FitState) -> None:
        if self._defines(old):
            return  # a subclass calls `super()` from the hook that the new one has called
        new = _NEW[old]
        warnings.warn(
            f"`{old}` is now `{new}(duda.training.FitState(...))`.",
            DeprecationWarning,
            stacklevel=3,
        )
        getattr(self, new)(state)
