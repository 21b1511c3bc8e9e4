"""Table of metrics: a row for each, a cell for each method, the best of them marked."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from duda.reporting.metrics import METRICS, Metric
from duda.reporting.resampling import Intervals
from duda.shown import visible

__all__ = ["Cell", "Measured", "Row", "as_text", "rows", "spread"]

Measured = Mapping[str, Mapping[str, Sequence[float]]]

_MOST_DECIMALS = 4
_SMALL = 1e-3  # below which numbers are written with a power of ten
_LARGE = 1e9  # from which on too
_ALIKE = 1e4  # between the largest and the smallest number of a column that get as many decimals
_NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """A number over seeds, as text.

    Args:
        mean: or a dash where there is no number.
        deviation: the standard deviation over seeds; empty for one seed.
        interval: the ends of a confidence interval; empty where it was not asked for.
        best: whether there are others, and none looks better.
    """

    mean: str
    deviation: str
    interval: str
    best: bool

    def __str__(self) -> str:
        deviation = f" ± {self.deviation}" if self.deviation else ""
        return f"{self.mean}{deviation}{f' [{self.interval}]' if self.interval else ''}"


@dataclass(frozen=True)
class Row:
    """A metric, and its cell for each method, in their order."""

    metric: Metric
    cells: tuple[Cell, ...]


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean over seeds and the sample standard deviation, None for a single seed.

    >>> spread([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    mean = math.fsum(values) / len(values) if _finite(values) else sum(values)
    if len(values) == 1:
        return mean, None
    return mean, statistics.stdev(values) if _finite(values) else math.nan


def rows(
    measured: Measured,
    ends: Mapping[str, Intervals] | None = None,
    unranked: Collection[str] = (),
) -> list[Row]:
    """Return the table of `measured[method][metric]`, one number for each seed.

    Methods whose means look the same, to the digits shown, are all best, except for metrics that
    are `unranked`, because they mean another thing for each. With `ends`, intervals by method and
    metric, each number has its own beside it.

    >>> [row] = rows({"a": {"nll": [0.51]}, "b": {"nll": [0.25]}})
    >>> [str(cell) for cell in row.cells], [cell.best for cell in row.cells]
    (['0.510', '0.250'], [False, True])
    """
    named = {name: metric for name, metric in METRICS.items() if _anyone_has(name, measured)}
    ends = ends or {}
    return [
        _row(
            metric,
            [measured[method].get(name, ()) for method in measured],
            [ends.get(method, {}).get(name) for method in measured],
            ranked=name not in unranked,
        )
        for name, metric in named.items()
    ]


def as_text(methods: Iterable[str], table: Iterable[Row]) -> str:
    """Return the table as plain text, a line for each method, with a star at what is best.

    >>> print(as_text(["a", "b"], rows({"a": {"nll": [0.51]}, "b": {"nll": [0.25]}})))
        NLL ↓
    a  0.510
    b  0.250*
    """
    columns = [["", *map(visible, methods)]]
    for row in table:
        cells = (f"{cell}{'*' if cell.best else ' '}" for cell in row.cells)
        columns.append([f"{row.metric.label} {row.metric.arrow} ", *cells])
    widths = [max(map(len, column)) for column in columns]
    lines = (
        "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip()
        for name, *cells in zip(*columns, strict=True)
    )
    return "\n".join(lines)


def _anyone_has(name: str, measured: Measured) -> bool:
    return any(name in values for values in measured.values())


def _row(
    metric: Metric,
    values: list[Sequence[float]],
    ends: list[tuple[float, float] | None],
    ranked: bool,
) -> Row:
    spreads = [spread(each) if each else (math.nan, None) for each in values]
    scale = 100.0 if metric.percent else 1.0
    shown = [mean * scale for mean, _ in spreads]
    decimals = 2 if metric.percent else _decimals(shown)
    unit = " %" if metric.percent else ""
    means = [_text(value, decimals) + (unit if not math.isnan(value) else "") for value in shown]
    known = [index for index, (mean, _) in enumerate(spreads) if not math.isnan(mean)]
    best = min(known, key=lambda index: metric.badness(spreads[index][0]), default=0)
    cells = tuple(
        Cell(
            mean=text,
            deviation="" if deviation is None else _text(deviation * scale, decimals),
            interval=""
            if pair is None
            else ", ".join(_text(end * scale, decimals) for end in pair),
            best=ranked and len(known) > 1 and text == means[best],
        )
        for text, (_, deviation), pair in zip(means, spreads, ends, strict=True)
    )
    return Row(metric, cells)


def _decimals(values: Sequence[float]) -> int | None:
    """Return how many decimals show three digits of the smallest value, within reason.

    None where no number of decimals does for all: each then shows three digits of its own.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes:
        return 2
    if max(sizes) < _SMALL or max(sizes) > _ALIKE * min(sizes):
        return None
    return max(0, min(_MOST_DECIMALS, _three_digits(min(sizes))))


def _three_digits(value: float) -> int:
    return 2 - math.floor(math.log10(abs(value)))


def _text(value: float, decimals: int | None) -> str:
    if math.isnan(value):
        return _NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= _LARGE or (decimals is None and 0 < abs(value) < _SMALL):
        text = f"{value:.2e}"
    else:
        digits = (max(0, _three_digits(value)) if value else 2) if decimals is None else decimals
        text = f"{value:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


def _finite(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in values)
