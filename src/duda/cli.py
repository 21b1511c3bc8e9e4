"""The command line: `duda compare`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import duda

if TYPE_CHECKING:
    from duda.comparison import Comparison

__all__ = ["app", "main"]

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
            "the folder DUDA_DATA mnist, fashion-mnist, uci:NAME."
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

        names = None if methods is None else [name.strip() for name in methods.split(",")]
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


def _show(comparison: Comparison) -> None:
    """Print a row for each metric, a column for each method, the best in bold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=comparison.split.name, title_justify="left", title_style="bold")
    table.add_column("")
    for method in comparison.methods:
        table.add_column(method, justify="right")
    for row in comparison.table:
        cells = [f"[bold green]{cell}[/]" if cell.best else str(cell) for cell in row.cells]
        table.add_row(f"{row.metric.label} [dim]{row.metric.arrow}[/]", *cells)
    console = Console(file=sys.stdout)
    console.print(table)
