"""Folder for results: tried before work begins, and filled with those of one run alone."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from duda.files import move_into, write_atomically
from duda.path_lock import path_lock
from duda.predictions import Prediction
from duda.reporting import Report

__all__ = ["save_run", "writable"]

_RESULTS, _REPORT, _PREDICTIONS = "results.json", "report.html", "predictions"


@contextmanager
def writable(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Make `folder` and see that it can be written; unmake it if nothing was written in the end.

    Raises:
        OSError: if it cannot.
    """
    place = Path(folder)
    made = [each for each in (place, *place.parents) if not each.exists()]
    try:
        _try_to_write(place)
        yield place
    finally:
        for each in made:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()


def save_run(
    folder: str | os.PathLike[str],
    results: Mapping[str, Any],
    report: Report,
    predictions: Mapping[str, Prediction] | None = None,
) -> Path:
    """Write all of a run into `folder`, and return the report's path.

    All is made before anything is replaced. Results and report bear the same random number, `run`;
    while not all files are in place, `results.json` says so. Predictions of earlier runs go.

    Args:
        folder: made if it is not there.
        results: what goes into `results.json`.
        report: the page.
        predictions: by the names of their files.

    Raises:
        OSError: if another run writes the folder, or it cannot be written.
    """
    place, run = Path(folder), uuid.uuid4().hex
    text = json.dumps({"run": run, **results}, indent=2, allow_nan=False) + "\n"
    page = replace(report, run=run).html()
    with writable(place), path_lock(place), _staged(place) as stage:
        for name, each in (predictions or {}).items():
            each.save(stage / _PREDICTIONS / name)
        write_atomically(stage / _REPORT, page.encode())
        write_atomically(stage / _RESULTS, text.encode())
        _move(stage, place)
    return place / _REPORT


@contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """Make a hidden folder in `place`, and remove it with those that killed runs have left."""
    for left in place.glob(".saving-*"):
        shutil.rmtree(left, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=".saving-", dir=place))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _move(stage: Path, place: Path) -> None:
    """Put the files of `stage` in the places of those of an earlier run, the results last."""
    if (place / _RESULTS).exists():
        write_atomically(place / _RESULTS, b'{"unfinished": true}\n')
    made = [file.relative_to(stage) for file in sorted(stage.rglob("*")) if file.is_file()]
    for old in (place / _PREDICTIONS).glob("*-seed*-*.safetensors"):
        if old.relative_to(place) not in made:
            old.unlink()
    for file in sorted(made, key=lambda name: name == Path(_RESULTS)):
        move_into(stage / file, place / file)


def _try_to_write(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        raise OSError(
            f"cannot write to `{place}` ({error.strerror or error}): choose another folder."
        ) from error
