"""Callbacks as version 0.1 asked for them, with `starts_fit`, `update` and `end_epoch`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from duda.hooks import FitState

__all__ = ["OldCallback"]


class OldCallback:
    """Gives a callback of version 0.1 the hooks that there are now; goes in the version after this.

    Args:
        callback: has all the methods that version 0.1 called.
    """

    def __init__(self, callback: Any) -> None:
        self.callback = callback
        warnings.warn(
            f"{type(callback).__name__} has `starts_fit`, `update` and `end_epoch`, which are now "
            "`on_fit_start(self, state)`, `on_outputs` and `on_epoch_end`.",
            DeprecationWarning,
            stacklevel=5,
        )

    @staticmethod
    def fits(callback: object) -> bool:
        """Return whether this is such a callback."""
        names = ("starts_fit", "update", "end_epoch", "state_dict", "load_state_dict")
        return all(hasattr(callback, name) for name in names)

    def on_fit_start(self, state: FitState) -> None:
        """Tell the number of examples."""
        self.callback.starts_fit(state.places)

    def on_outputs(self, state: FitState) -> None:
        """Hand over log-probabilities and labels, or losses."""
        if (seen := state.outputs) is None:
            return
        said = {"losses": seen.losses} if seen.losses else {"outputs": seen.log_probs, "y": seen.y}
        self.callback.update(seen.index, member=state.member, **said)

    def on_epoch_end(self, state: FitState) -> None:
        """Tell the member."""
        self.callback.end_epoch(state.member)

    def state_dict(self) -> dict[str, Any]:
        """Return the callback's."""
        state: dict[str, Any] = self.callback.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hand it over."""
        self.callback.load_state_dict(state)
