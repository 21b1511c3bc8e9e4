"""Page of the report: sections of charts and pictures in one file that opens with no network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from duda.files import write_atomically
from duda.reporting.explorer import Explorer
from duda.reporting.table import Row, as_text
from duda.reporting.theme import Style
from duda.reporting.verdict import Verdict
from duda.shown import visible

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Chart", "Claim", "Picture", "Report", "Section", "Strip", "Table"]


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure, and the method that it is about, if it is about one."""

    figure: Figure
    method: str = ""
    note: str = ""

    @property
    def json(self) -> str:
        """The figure as JSON that cannot end the script it stands in."""
        text: str = self.figure.to_json()
        return text.replace("<", "\\u003c")


@dataclass(frozen=True)
class Claim:
    """A class, and the probability that it was given."""

    label: str
    probability: float


@dataclass(frozen=True)
class Picture:
    """A picture and its highest probabilities.

    Args:
        source: the picture itself, as a data URI.
        claims: the most probable classes, highest first.
        truth: the right class where it is known and the first claim is wrong; else empty.
    """

    source: str
    claims: Sequence[Claim]
    truth: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures that belong together, of one method, or of all if it has no name."""

    method: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Table:
    """Rows of text on one method.

    Args:
        method: what they are about.
        columns: their heads, each with what it means where it does not say so itself.
        rows: their cells; the first one names the row.
    """

    method: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Section:
    """A question, how to read the answer, and the answer.

    Args:
        title: the question in few words.
        reading: one sentence on how to read what follows.
        charts: side by side, where there is space.
        strips: rows of pictures.
        tables: one below the other, to be unfolded.
    """

    title: str
    reading: str
    charts: Sequence[Chart] = ()
    strips: Sequence[Strip] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `duda.report` found: the table, and the sections below it.

    Args:
        title: the page's headline.
        about: a line on the data and the methods.
        styles: of the methods, in their order.
        verdicts: on the methods, in plain words.
        table: a row for each metric, with a cell for each method.
        seeds: how many runs each number comes from.
        uncertainty: what it is, in a sentence or two.
        sections: in the order of reading.
        explorer: what moves a threshold, where there is one score for each example.
        run: a number that files of the same run share, if there is one.
    """

    title: str
    about: str
    styles: Mapping[str, Style]
    verdicts: Mapping[str, Verdict]
    table: Sequence[Row]
    seeds: int
    uncertainty: str
    sections: Sequence[Section] = field(default_factory=list)
    explorer: Explorer | None = None
    run: str = ""

    def __repr__(self) -> str:
        """Return the title and the table."""
        return f"Report: {visible(self.title)}\n{as_text(self.styles, self.table)}"

    @property
    def has_intervals(self) -> bool:
        """Whether the table says how far its numbers may be off."""
        return any(cell.interval for row in self.table for cell in row.cells)

    def html(self) -> str:
        """Return the page, with everything it needs inside."""
        from jinja2 import Environment, PackageLoader
        from plotly.offline import get_plotlyjs

        loader = PackageLoader("duda.reporting", package_path="")
        environment = Environment(
            loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        return environment.get_template("template.html").render(report=self, plotly=get_plotlyjs())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to `path`, whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        return write_atomically(path, self.html().encode())
