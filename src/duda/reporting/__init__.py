"""Report: one page that shows how sure predictions are, and how far that can be trusted."""

from duda.reporting.build import report
from duda.reporting.contributions import measure
from duda.reporting.metrics import METRICS, Metric
from duda.reporting.one_input import OneInput
from duda.reporting.page import Report
from duda.reporting.resampling import Intervals, intervals
from duda.reporting.table import Cell, Row, as_text, rows, spread

__all__ = [
    "METRICS",
    "Cell",
    "Intervals",
    "Metric",
    "OneInput",
    "Report",
    "Row",
    "as_text",
    "intervals",
    "measure",
    "report",
    "rows",
    "spread",
]
