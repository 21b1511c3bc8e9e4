"""Every method on the same data: how right, how sure, at what price.

Run with `python -m benchmarks.methods`: two-moons, sinusoid, and MNIST against Fashion-MNIST, each
with little training and one seed; with `--full` as much as the tables in README.md say, and three
seeds. Seconds are those of one thread of the processor, so that other work beside does not count.
Each run is added to the file of `--results` as it ends, and those found there are not run
again, so that a long benchmark can be stopped and taken up.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch

import duda
from benchmarks.clock import machine
from duda.comparison.dry_run import dry_run
from duda.comparison.makers import made
from duda.comparison.networks import likelihood_for, network_factory, recipe
from duda.comparison.run import run
from duda.comparison.task import Task, tasks
from duda.reporting import METRICS, rows

DATA = {"two-moons": None, "sinusoid": None, "mnist": "fashion-mnist"}
QUICK_EPOCHS = {"two-moons": 20, "sinusoid": 30, "mnist": 2}
FULL_EPOCHS = {"two-moons": 150, "sinusoid": 300, "mnist": 6}
QUICK_EXAMPLES, FULL_EXAMPLES = 1000, 10_000

Key = tuple[str, str, int, bool]


def main(arguments: Sequence[str] = ()) -> None:
    """Run what is missing, and print a table for each data set."""
    asked = _arguments(arguments)
    found = _read(asked.results)
    for seed in range(3 if asked.full else 1):
        for data in asked.data:
            task = tasks(data, ood=DATA[data])(seed)
            count = FULL_EXAMPLES if asked.full else QUICK_EXAMPLES
            task = replace(task, train=tuple(part[:count] for part in task.train))
            for method in asked.methods:
                if (data, method, seed, asked.full) in found or not _suits(method, task):
                    continue
                figures = _run(method, task, seed, asked.full)
                found[data, method, seed, asked.full] = figures
                _write(asked.results, (data, method, seed, asked.full), figures)
    print(f"duda {duda.__version__}, {machine()}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}")
    for data in asked.data:
        print(_table(data, asked.full, found))


def _suits(method: str, task: Task) -> bool:
    return isinstance(likelihood_for(task.split), duda.METHODS[method].likelihoods)


def _run(method: str, task: Task, seed: int, full: bool) -> dict[str, float]:
    epochs = (FULL_EPOCHS if full else QUICK_EPOCHS)[task.name]
    options = vars(recipe(task.split)) | {"epochs": epochs}
    meaning = likelihood_for(task.split)
    make, network = duda.METHODS[method].from_factory, network_factory(task.split, meaning)
    dry_run(method, make, network, meaning, task, options)  # what torch does once in a process
    clock = SimpleNamespace(perf_counter=time.process_time)
    with patch("duda.comparison.run.time", clock):
        model = made(method, make, network, meaning, seed)
        result = run(method, model, task, options, seed)
    figures = {name: value for name, value in result.figures.items() if not math.isnan(value)}
    told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"  {task.name}, {method}, seed {seed}: {told}", flush=True)
    return figures


def _table(data: str, full: bool, found: dict[Key, dict[str, float]]) -> str:
    """Return a table in Markdown: mean and standard deviation over seeds, the best in bold."""
    measured: dict[str, dict[str, list[float]]] = {}
    for method in duda.METHODS:
        for (of, by, _, mode), figures in found.items():
            if (of, by, mode) == (data, method, full):
                for name in METRICS:
                    if name in figures:
                        measured.setdefault(method, {}).setdefault(name, []).append(figures[name])
    if not measured:
        return f"\n{data}: no method was run"
    metrics = rows(measured)
    lines = [
        f"\n### {data}\n",
        "| method | " + " | ".join(f"{row.metric.label} {row.metric.arrow}" for row in metrics),
        "|---|" + "---|" * len(metrics),
    ]
    for place, method in enumerate(measured):
        cells = [row.cells[place] for row in metrics]
        # Of what is the same for all seeds there is no deviation to show.
        texts = [str(cell).removesuffix(" ± 0") for cell in cells]
        shown = [
            f"**{text}**" if cell.best else text for text, cell in zip(texts, cells, strict=True)
        ]
        lines.append(f"| {method} | " + " | ".join(shown) + " |")
    lines[1] += " |"
    return "\n".join(lines)


def _read(path: Path | None) -> dict[Key, dict[str, float]]:
    if path is None or not path.exists():
        return {}
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        (each["data"], each["method"], each["seed"], each["full"]): each["figures"]
        for each in entries
    }


def _write(path: Path | None, key: Key, figures: dict[str, float]) -> None:
    if path is None:
        return
    names = ("data", "method", "seed", "full")
    with path.open("a") as file:
        file.write(json.dumps(dict(zip(names, key, strict=True)) | {"figures": figures}) + "\n")


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.methods", description=__doc__)
    parser.add_argument("--full", action="store_true", help="three seeds, long training")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=duda.METHODS, default=list(duda.METHODS))
    parser.add_argument("--results", type=Path, help="a file of results to add to")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    main(sys.argv[1:])
