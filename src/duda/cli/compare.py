"""Comparison of methods from the command line: `duda compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duda.cli.sentences import sentences
from duda.cli.tables import method_tables, terminal

if TYPE_CHECKING:
    from duda.comparison import Comparison

__all__ = ["compare"]


def compare(
    data: Annotated[
        str,
        typer.Option(
            help="Data set: digits, sinusoid, cubic, cubic-heteroscedastic, two-moons, or from "
            "the folder DUDA_DATA mnist, fashion-mnist, cifar-10, uci:NAME."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the report, the numbers, the predictions. After a kill, the same "
            "command goes on from the methods that had ended."
        ),
    ],
    methods: Annotated[
        str | None,
        typer.Option(help="Methods or detectors, with commas between; by default all methods."),
    ] = None,
    ood: Annotated[
        str | None,
        typer.Option(help="Data set of out-of-distribution inputs, in place of the data's own."),
    ] = None,
    likelihood: Annotated[
        str | None,
        typer.Option(
            help="What outputs mean: categorical, sampled-softmax, dirichlet, or for numbers "
            "gaussian, laplacian, quantiles, ...; by default categorical, or gaussian."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often to repeat all, with another seed.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training, in place of the data's own.")
    ] = None,
) -> None:
    """Train methods on the same data, and show side by side how far each can be trusted."""
    with sentences():
        from duda.comparison import compare as compare_methods
        from duda.comparison import writable
        from duda.shown import visible

        names = None if methods is None else _names(methods)
        with writable(out) as folder:
            comparison = compare_methods(
                data,
                names,
                ood=ood,
                likelihood=likelihood,
                seeds=seeds,
                epochs=epochs,
                folder=folder,
                tell=_tell,
            )
            path = comparison.save(folder)
        _show(comparison)
        typer.echo(f"report: {visible(str(path))}")


def _names(listed: str) -> list[str]:
    """Return the names between commas; a comma at the end names nothing."""
    return [name.strip() for name in listed.split(",") if name.strip()]


def _tell(line: str) -> None:
    from duda.shown import visible

    typer.echo(visible(line), err=True)


def _show(comparison: Comparison) -> None:
    """Print a row for each method, a column for each metric, the best in bold."""
    from duda.shown import visible

    console = terminal()
    console.print(visible(comparison.task.name), style="bold")
    for price in (False, True):
        columns = [row for row in comparison.table if row.metric.price == price]
        for table in method_tables(comparison.methods, columns, console):
            console.print()
            console.print(table)
    for reason in comparison.reasons():
        console.print()
        console.print(visible(reason))
