"""Errors as one sentence on stderr, where the user can mend what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["sentences"]


@contextmanager
def sentences() -> Iterator[None]:
    """End with one sentence on stderr and code 2 where the user can mend what is wrong."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        typer.echo(f"duda: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
