"""Errors as one sentence on stderr, where the user can mend what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from duda.cli.streams import end_cleanly

__all__ = ["sentences"]


@contextmanager
def sentences() -> Iterator[None]:
    """End with one sentence on stderr and code 2 where the user can mend what is wrong."""
    import duda.comparison  # noqa: F401 # takes seconds, in which there is nothing to clean up
    from duda.shown import visible

    with end_cleanly():
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # by whom reads no further, such as `head`: typer ends quietly
        except (ValueError, OSError, FloatingPointError) as error:
            typer.echo(f"duda: {visible(' '.join(str(error).split()))}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
