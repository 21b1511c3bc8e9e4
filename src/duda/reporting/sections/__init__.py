"""Sections of the report, a file each: its question, how to read the answer, and the answer.

A new one is a file with a `section(evidence)`, which returns nothing where there is nothing to say,
and its name below, where it is to stand.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from duda.reporting.evidence import Evidence
from duda.reporting.page import Section

__all__ = ["SECTIONS"]

SECTIONS: dict[str, Callable[[Evidence], list[Section]]] = {
    name: import_module(f"{__name__}.{name}").section
    for name in (
        "bands",
        "calibration",
        "coverage",
        "abstention",
        "out_of_distribution",
        "parts",
        "classes",
        "pictures",
    )
}
