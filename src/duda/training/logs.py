"""Logs of a training: its figures after each epoch, to a CSV file, TensorBoard or a function."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from duda.hooks import FitState
from duda.training.callbacks import Callback

__all__ = ["Log", "log_of"]

Log = str | os.PathLike[str] | Callable[[dict[str, Any]], object]


def log_of(log: Log | None) -> list[Callback]:
    """Return who writes the log, if there is one.

    Raises:
        TypeError: if it is neither a path nor a function.
        ImportError: if TensorBoard is not installed.
    """
    if log is None:
        return []
    if isinstance(log, str | os.PathLike):
        path = Path(log)
        return [_Table(path) if path.suffix == ".csv" else _Board(path)]
    if not callable(log):
        raise TypeError(
            f"`log` is a {type(log).__name__}, expected a path that ends in '.csv', a folder for "
            "TensorBoard, or a function of a dict of figures."
        )
    return [_Told(log)]


def figures_of(state: FitState) -> dict[str, Any]:
    """Return the figures of an epoch, by name; member and epoch are counted from 1."""
    figures: dict[str, Any] = {
        "member": state.member + 1,
        "epoch": state.epoch + 1,
        "step": state.step,
        "lr": state.lr,
        "loss": state.loss,
    }
    if state.validation_loss is not None:
        figures["validation_loss"] = state.validation_loss
    return figures | dict(state.metrics or {})


class _Told(Callback):
    """Hands the figures of each epoch to a function."""

    def __init__(self, tell: Callable[[dict[str, Any]], object]) -> None:
        self.tell = tell

    def on_epoch_end(self, state: FitState) -> None:
        """Tell the figures."""
        self.tell(figures_of(state))


class _Table(Callback):
    """Writes a CSV file, with a row for each member and epoch, anew for each training.

    One that goes on from a checkpoint has the rows that were there by then.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()

    def on_fit_start(self, state: FitState) -> None:
        """Start with an empty file, to learn whether it can be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write([], "w")

    def on_epoch_end(self, state: FitState) -> None:
        """Add a row."""
        self.rows.append(figures_of(state))
        self._write(self.rows[-1:], "a")

    def _write(self, rows: list[dict[str, Any]], mode: str) -> None:
        with self.path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, [*rows[0]] if rows else [])
            if rows and file.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Write the rows anew, and go on behind them."""
        self.rows = [dict(row) for row in state["rows"]]
        self._write(self.rows, "w")


class _Board(Callback):
    """Writes scalars for TensorBoard, those of each member in a folder of its own."""

    def __init__(self, path: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                f"`log` is {str(path)!r}, a folder for TensorBoard, which is not installed: "
                "`pip install tensorboard`, or give a path that ends in '.csv'."
            ) from error
        self.path, self._make = path, SummaryWriter
        self._writers: dict[int, Any] = {}

    def on_epoch_end(self, state: FitState) -> None:
        """Write the figures; what a run that was cut off wrote of this epoch goes."""
        figures = figures_of(state)
        member, epoch = figures.pop("member"), figures.pop("epoch")
        if member not in self._writers:
            folder = self.path / f"member-{member}"
            self._writers[member] = self._make(str(folder), purge_step=epoch)
        for name, value in figures.items():
            self._writers[member].add_scalar(name, value, epoch)
        self._writers[member].flush()

    def on_fit_end(self, state: FitState) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
