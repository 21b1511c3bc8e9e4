"""The command line: `duda compare` and `duda evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import duda
from duda.checks import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from duda.comparison import Comparison, Evaluation
    from duda.reporting import Metric, Row

__all__ = ["app", "main"]

_ENDLESS = 10_000  # characters

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Uncertainty for any PyTorch network: estimate it, check it, decide with it.",
)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"duda {duda.__version__}")
        raise typer.Exit


@app.callback()
def _duda(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Uncertainty for any PyTorch network: estimate it, check it, decide with it."""


@app.command()
def compare(
    data: Annotated[
        str,
        typer.Option(
            help="Data set: digits, sinusoid, cubic, cubic-heteroscedastic, two-moons, or from "
            "the folder DUDA_DATA mnist, fashion-mnist, cifar-10, uci:NAME."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report, the numbers, the predictions.")],
    methods: Annotated[
        str | None, typer.Option(help="Names of methods, with commas between; all by default.")
    ] = None,
    ood: Annotated[
        str | None,
        typer.Option(help="Data set of inputs from elsewhere, in place of the data's own."),
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
    with _sentences():
        from duda.comparison import compare as compare_methods
        from duda.comparison import writable

        names = None if methods is None else _names(methods)
        with writable(out) as folder:
            comparison = compare_methods(
                data,
                names,
                ood=ood,
                likelihood=likelihood,
                seeds=seeds,
                epochs=epochs,
                tell=_tell,
            )
            path = comparison.save(folder)
        _show(comparison)
        typer.echo(f"report: {path}")


@app.command()
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="An .npz file with probs or logits, or mean and std, or quantiles and levels; and "
            "labels or y."
        ),
    ],
    ood: Annotated[
        Path | None, typer.Option(help="A file with predictions for inputs from elsewhere.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report and the numbers, if wanted.")
    ] = None,
) -> None:
    """Show how far predictions of any program can be trusted."""
    with _sentences():
        from duda.comparison import evaluate as evaluate_file
        from duda.comparison import writable

        if out is None:
            _show_one(evaluate_file(predictions, ood))
            return
        with writable(out) as folder:
            evaluation = evaluate_file(predictions, ood)
            path = evaluation.save(folder)
        _show_one(evaluation)
        typer.echo(f"report: {path}")


def _names(listed: str) -> list[str]:
    """Return the names between commas; a comma at the end names nothing."""
    return [name.strip() for name in listed.split(",") if name.strip()]


@contextmanager
def _sentences() -> Iterator[None]:
    """End with one sentence on stderr and code 2 where the user can mend what is wrong."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        typer.echo(f"duda: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _console() -> Console:
    """Return a console that prints names as they are, also those with brackets or colons."""
    from rich.console import Console

    return Console(file=sys.stdout, markup=False, emoji=False)


def _show(comparison: Comparison) -> None:
    """Print a row for each method, a column for each metric, the best in bold."""
    console = _console()
    console.print(comparison.split.name, style="bold")
    for price in (False, True):
        columns = [row for row in comparison.table if row.metric.price == price]
        for table in _tables(comparison.methods, columns, console):
            console.print()
            console.print(table)


def _show_one(evaluation: Evaluation) -> None:
    """Print a row for each metric, with its interval and which way is better."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("")
    for row in evaluation.table:
        [cell] = row.cells
        table.add_row(row.metric.label, cell.mean, cell.interval, row.metric.direction)
    console = _console()
    examples = counted(len(evaluation.prediction), "example")
    console.print(f"{evaluation.name}: {examples}", style="bold")
    console.print()
    console.print(table)
    if evaluation.note:
        console.print(f"\n{evaluation.note}")


def _tables(methods: Sequence[str], columns: Sequence[Row], console: Console) -> list[Table]:
    """Return as few tables as fit on the console with no cell cut."""
    endless = console.options.update_width(_ENDLESS)
    groups: list[list[Row]] = []
    for column in columns:
        wider = [*groups[-1], column] if groups else []
        width = console.measure(_table(methods, wider), options=endless).maximum
        if wider and width <= console.width:
            groups[-1] = wider
        else:
            groups.append([column])
    return [_table(methods, group) for group in groups]


def _head(metric: Metric) -> str:
    """Return the label on two lines, with which way is better."""
    first, _, rest = metric.label.partition(" ")
    return f"{first}\n{f'{rest} {metric.arrow}'.strip()}"


def _table(methods: Sequence[str], columns: Sequence[Row]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for column in columns:
        table.add_column(_head(column.metric), justify="right", no_wrap=True)
    for place, method in enumerate(methods):
        cells = [column.cells[place] for column in columns]
        shown = (Text(str(cell), style="bold green" if cell.best else "") for cell in cells)
        table.add_row(method, *shown)
    return table
