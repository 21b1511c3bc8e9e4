"""Command line: one file a command, `duda compare` and `duda evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

import duda
from duda.cli import compare, evaluate
from duda.cli.streams import spell_out

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Uncertainty for any PyTorch network: estimate it, check it, decide with it.",
)

app.command()(compare.compare)
app.command()(evaluate.evaluate)


def main() -> None:
    """Run the command line."""
    spell_out()
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
