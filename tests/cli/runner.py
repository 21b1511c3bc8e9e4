"""The command line, run within the process of the test."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from duda.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
