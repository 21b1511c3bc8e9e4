"""Evaluation of predictions from the command line: `duda evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duda.cli.sentences import sentences
from duda.cli.tables import terminal

if TYPE_CHECKING:
    from duda.comparison import Evaluation

__all__ = ["evaluate"]


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="An .npz file with probs or logits, or mean and std, or mean alone, or quantiles "
            "and levels; and labels or y, and where some do not count a mask."
        ),
    ],
    ood: Annotated[
        Path | None, typer.Option(help="A file with predictions for out-of-distribution inputs.")
    ] = None,
    ignore_index: Annotated[
        int | None, typer.Option(help="The label of positions that do not count, such as 255.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report and the numbers, if wanted.")
    ] = None,
) -> None:
    """Show how far predictions of any program can be trusted."""
    with sentences():
        from duda.comparison import evaluate as evaluate_file
        from duda.comparison import writable
        from duda.shown import visible

        if out is None:
            _show(evaluate_file(predictions, ood, ignore_index=ignore_index))
            return
        with writable(out) as folder:
            evaluation = evaluate_file(predictions, ood, ignore_index=ignore_index)
            path = evaluation.save(folder)
        _show(evaluation)
        typer.echo(f"report: {visible(str(path))}")


def _show(evaluation: Evaluation) -> None:
    """Print a row for each metric, with its interval and which way is better."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from duda.checks import counted

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("")
    for row in evaluation.table:
        [cell] = row.cells
        table.add_row(row.metric.label, cell.mean, cell.interval, row.metric.direction)
    console = terminal()
    examples = counted(len(evaluation.prediction), "example")
    left_out = int((~evaluation.counted).sum())
    told = f", {counted(left_out, 'target')} left out" if left_out else ""
    console.print(f"{evaluation.name}: {examples}{told}", style="bold")
    console.print()
    console.print(table)
    if evaluation.note:
        console.print(f"\n{evaluation.note}")
