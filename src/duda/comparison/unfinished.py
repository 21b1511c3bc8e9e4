"""Unfinished comparisons: runs that have ended stay in a folder, and a rerun goes on from them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import duda
from duda.comparison.folder import writable
from duda.comparison.makers import file_name
from duda.comparison.run import Run
from duda.comparison.task import Task
from duda.methods import UncertainModel
from duda.path_lock import path_lock
from duda.predictions import PREDICTIONS, Prediction
from duda.predictions.storage import read
from duda.sampling import seeded
from duda.sources import LoaderSource, read_inputs, read_pairs
from duda.storage import Format
from duda.training.data import LoaderData
from duda.training.descriptions import described
from duda.training.identity import model_identity

__all__ = ["Unfinished", "data_identity", "run_identity", "unfinished"]

_FORMAT = Format("comparison run")
_NO_SETTINGS = ("callbacks", "checkpoint", "log")  # which change no training
_BATCH = 256  # examples read at a time


@dataclass(frozen=True)
class Unfinished:
    """The runs of a comparison that have ended, each in a folder of its own.

    Args:
        folder: where the comparison is to be saved.
    """

    folder: Path

    @property
    def place(self) -> Path:
        """Where the runs are."""
        return self.folder / "unfinished"

    def write(self, run: Run, identity: Mapping[str, Any]) -> None:
        """Keep a run, with what tells it from others."""
        place = self._of(run.method, run.seed)
        shutil.rmtree(place, ignore_errors=True)
        run.test.save(place / "test.safetensors")
        if run.shown is not None:
            run.shown.save(place / "shown.safetensors")
        for number, each in enumerate(run.ood.values()):
            each.save(place / f"ood{number}.safetensors")
        state = {"identity": dict(identity), "figures": run.figures, "ood": list(run.ood)}
        _FORMAT.write(place / "run.safetensors", "run", state)  # last, when all others are whole

    def read(self, method: str, seed: int, identity: Mapping[str, Any]) -> Run | None:
        """Return a run, if it is here whole and has the same identity."""
        place = self._of(method, seed)
        try:
            _, state = _FORMAT.read(place / "run.safetensors")
            if state["identity"] != identity:
                return None
            shown = place / "shown.safetensors"
            return Run(
                method,
                seed,
                test=_read(place / "test.safetensors"),
                figures=state["figures"],
                ood={
                    name: _read(place / f"ood{number}.safetensors")
                    for number, name in enumerate(state["ood"])
                },
                shown=_read(shown) if shown.exists() else None,
            )
        except (FileNotFoundError, ValueError):
            return None

    def clear(self) -> None:
        """Remove them all, when the comparison is saved."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _of(self, method: str, seed: int) -> Path:
        return self.place / f"{file_name(method)}-seed{seed}"


def _read(path: Path) -> Prediction:
    return read(path, PREDICTIONS)


@contextmanager
def unfinished(folder: str | os.PathLike[str] | None) -> Iterator[Unfinished | None]:
    """Keep other comparisons from a folder, if there is one, and unmake it if it stays empty.

    Raises:
        OSError: if another has it, or it cannot be written.
    """
    if folder is None:
        yield None
        return
    with writable(folder) as place, path_lock(place):
        yield Unfinished(place)


def data_identity(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells the data of a run, and the options of its training, from others.

    Raises:
        TypeError: if an option cannot be told from others of its kind.
        ValueError: if a data set cannot.
    """
    given = {"data": task.train, "validation": task.validation}
    return {
        "versions": [duda.__version__, torch.__version__],
        "options": {n: described(v, n) for n, v in options.items() if n not in _NO_SETTINGS},
        **{name: _told(data, name, options) for name, data in given.items()},
        "test": described(task.test, "test"),
        "ood": {name: _inputs_told(x, f"ood[{name!r}]") for name, x in task.ood.items()},
        "split": None if task.split is None else described(task.split, "data"),
    }


def run_identity(model: UncertainModel, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a run from others: its data, its model and the weights it starts from."""
    start = described(dict(model.state_dict()), "model")
    return {**data, **model_identity(model), "start": start}


def _told(data: Any, name: str, options: Mapping[str, Any]) -> Any:
    if data is None:
        return None
    size = options.get("batch_size", _BATCH)
    source = read_pairs(data, size, name, options.get("inputs"), shuffle=name == "data")
    if isinstance(source, LoaderSource):
        return LoaderData(source, torch.device("cpu"), torch.float32).identity()
    return described([source.x, source.y], name)


def _inputs_told(x: Any, name: str) -> str:
    source = read_inputs(x, _BATCH)
    if isinstance(source, LoaderSource):
        with seeded(0, []):
            return described(next(source.inputs()), name)
    return described(source.x, name)
