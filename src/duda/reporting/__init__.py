"""The report: one page that shows how sure predictions are, and how far that can be trusted."""

from duda.reporting.bands import OneInput
from duda.reporting.building import report
from duda.reporting.metrics import METRICS, Metric, measure
from duda.reporting.page import Report
from duda.reporting.table import Cell, Row, rows, spread

__all__ = [
    "METRICS",
    "Cell",
    "Metric",
    "OneInput",
    "Report",
    "Row",
    "measure",
    "report",
    "rows",
    "spread",
]
