"""Tables for the terminal: one that shows names as they are, and as many as it takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from duda.reporting import Metric, Row

__all__ = ["method_tables", "terminal"]

_ENDLESS = 10_000  # characters


def terminal() -> Console:
    """Return a console that prints names as they are, also those with brackets or colons."""
    from rich.console import Console

    return Console(file=sys.stdout, markup=False, emoji=False)


def method_tables(methods: Sequence[str], columns: Sequence[Row], console: Console) -> list[Table]:
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

    from duda.shown import visible

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for column in columns:
        table.add_column(_head(column.metric), justify="right", no_wrap=True)
    for place, method in enumerate(methods):
        cells = [column.cells[place] for column in columns]
        shown = (Text(str(cell), style="bold green" if cell.best else "") for cell in cells)
        table.add_row(visible(method), *shown)
    return table
