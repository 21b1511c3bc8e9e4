"""The UCI regression protocol: 20 standard splits of six tables, beside what papers published.

Run with `python -m benchmarks.uci --results FILE`, with the tables in `$DUDA_DATA`. Each method has
one hidden layer of 50 ReLU units. Its hyper-parameters are those that are best on a fifth of the
training rows, which a network trained on the others has not seen; then it is trained anew on all
of them, and meets the test rows once. Each run is a line of FILE as soon as it ends, and is not run
again, so that a benchmark that was stopped goes on where it was: give another FILE once the methods
have changed. `--quick` trains a twentieth.

Published: MC-Dropout from the re-run by Mukhoti et al. 2018, with 4,000 epochs; deep ensembles from
Lakshminarayanan et al. 2017.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

import duda
from benchmarks.clock import machine
from benchmarks.uci_methods import WAYS, chosen, figures, trained
from duda.datasets import load
from duda.progress import progress

TABLES = ("bostonHousing", "concrete", "energy", "power-plant", "wine-quality-red", "yacht")
SPLITS = 20
QUICK = 0.05  # of the training

# RMSE and NLL, in the order of TABLES.
PUBLISHED = {
    "mc-dropout": (
        (2.90, 2.40),
        (4.83, 2.94),
        (0.54, 1.21),
        (4.01, 2.81),
        (0.62, 0.93),
        (0.67, 1.25),
    ),
    "deep-ensemble": (
        (3.28, 2.41),
        (6.03, 3.06),
        (2.09, 1.38),
        (4.11, 2.79),
        (0.64, 0.94),
        (1.58, 1.18),
    ),
}

Key = tuple[str, int, str, bool]  # table, split, method, quick
Entry = dict[str, Any]


def main(arguments: Sequence[str] = ()) -> None:
    """Run what is missing, and print the table."""
    asked = _arguments(arguments)
    if asked.results is not None:
        asked.results.parent.mkdir(parents=True, exist_ok=True)
    found = read(asked.results)
    wanted: list[Key] = [
        (table, split, method, asked.quick)
        for split in range(asked.splits)
        for table in asked.tables
        for method in asked.methods
    ]
    missing = [key for key in wanted if key not in found]
    for entry in progress(_runs(missing, asked.workers), "uci", len(missing)):
        found[key_of(entry)] = entry
        append(asked.results, entry)
    print(f"duda {duda.__version__}, {machine()}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}")
    print("\n".join(rows([found[key] for key in wanted])))


def run(key: Key) -> Entry:
    """Choose hyper-parameters, train with them and measure once on the test rows."""
    torch.set_num_threads(1)
    table, number, method, quick = key
    way, start = WAYS[method], time.process_time()
    split = load(f"uci:{table}", number)
    choice = chosen(way, split.train, number, QUICK if quick else 1.0)
    model, epochs = trained(way, choice, split.train, number)
    found = figures(way.ask(model, split.test[0], choice), split)
    return {
        "table": table,
        "split": number,
        "method": method,
        "quick": quick,
        **found,
        "choice": choice.as_dict(),
        "epochs": epochs,
        "seconds": round(time.process_time() - start, 2),
    }


def _runs(keys: Sequence[Key], workers: int) -> Iterable[Entry]:
    """Yield what the runs found, as they end."""
    if workers == 1:
        yield from map(run, keys)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        for future in as_completed([pool.submit(run, key) for key in keys]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def key_of(entry: Entry) -> Key:
    return entry["table"], entry["split"], entry["method"], entry["quick"]


def read(path: Path | None) -> dict[Key, Entry]:
    """Return what the file holds; a line that a kill has cut short is taken off it."""
    if path is None or not path.exists():
        return {}
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        print(f"`{path}` ends in {len(text) - whole} bytes of a line cut short: taken off.")
        os.truncate(path, whole)
    entries = [json.loads(line) for line in text[:whole].splitlines()]
    return {key_of(entry): entry for entry in entries}


def append(path: Path | None, entry: Entry) -> None:
    if path is None:
        return
    with path.open("ab", buffering=0) as file:  # one write a line
        file.write(json.dumps(entry).encode() + b"\n")


def rows(entries: Sequence[Entry]) -> list[str]:
    """Return the table in Markdown, mean ± standard error over splits, and how it compares."""
    lines = [
        "| data | method | RMSE | NLL | coverage of 95 % | CRPS | published RMSE | NLL | epochs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    gaps: dict[str, list[float]] = {}
    for place, table in enumerate(TABLES):
        for method in WAYS:
            some = [e for e in entries if (e["table"], e["method"]) == (table, method)]
            if not some:
                continue
            published = PUBLISHED[method][place] if method in PUBLISHED else None
            lines.append(_row(table, method, some, published))
            if published is not None:
                mean = statistics.mean(entry["nll"] for entry in some)
                gaps.setdefault(method, []).append(mean - published[1])
    lines.append("")
    for method, found in gaps.items():
        lines.append(
            f"{method}: NLL at most the published one on {_count(found, 0.0)} of {len(found)} "
            f"tables, at most 0.1 above it on {_count(found, 0.1)}."
        )
    return [*lines, "", *_spent(entries)]


def _row(table: str, method: str, some: list[Entry], published: tuple[float, float] | None) -> str:
    cells = [
        mean_and_error([entry[name] * scale for entry in some], digits, unit)
        if name in some[0]
        else "–"
        for name, scale, digits, unit in (
            ("rmse", 1, 2, ""),
            ("nll", 1, 2, ""),
            ("coverage", 100, 1, " %"),
            ("crps", 1, 3, ""),
        )
    ]
    cells += ["", ""] if published is None else [f"{value:.2f}" for value in published]
    cells.append(f"{statistics.mean(entry['epochs'] for entry in some):,.0f}")
    return f"| {table} | {method} | {' | '.join(cells)} |"


def mean_and_error(values: Sequence[float], digits: int, unit: str = "") -> str:
    """Return mean ± standard error; of one value there is no error.

    >>> mean_and_error([1.0, 2.0, 3.0], 2)
    '2.00 ± 0.58'
    """
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean + unit
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}{unit}"


def _count(gaps: Iterable[float], most: float) -> int:
    # As published: to two digits.
    return sum(round(gap, 2) <= most for gap in gaps)


def _spent(entries: Sequence[Entry]) -> list[str]:
    """Return the seconds of each method, over all runs."""
    lines = [
        "| method | runs | seconds of the processor | of these to a run |",
        "|---|---|---|---|",
    ]
    for method in WAYS:
        spent = [entry["seconds"] for entry in entries if entry["method"] == method]
        if spent:
            total, each = sum(spent), statistics.mean(spent)
            lines.append(f"| {method} | {len(spent)} | {total:,.0f} | {each:.1f} |")
    return lines


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.uci", description=__doc__)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--methods", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--splits", type=int, default=SPLITS, help="how many of the 20")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the training")
    parser.add_argument("--results", type=Path, help="a file of results to add to")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
