"""The README's tables of methods and likelihoods: adds a row for each that the registries have.

Run with `python docs/tables.py`, as `make format` does. Rows that are there stay as they are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import duda

PAGES = [Path(__file__).parents[1] / name for name in ("README.md", "README.es.md")]


def names(row: str) -> list[str]:
    """Return what the first cell of a table's row names as code.

    >>> names("| `Quantiles`, `Gaussian` | of the `loss` |")
    ['Quantiles', 'Gaussian']
    """
    return re.findall(r"`(\w+)`", row.split("|")[1]) if row.startswith("| ") else []


def completed(page: str, registry: Mapping[str, type]) -> str:
    """Return the page with a row below its table for each class that has none."""
    known = {kind.__name__: kind for kind in registry.values()}
    lines = page.splitlines()
    rows = [place for place, line in enumerate(lines) if known.keys() & set(names(line))]
    shown = {name for place in rows for name in names(lines[place])}
    columns = lines[rows[-1]].count("|") - 1
    for name in sorted(known.keys() - shown, reverse=True):
        summary = (inspect.getdoc(known[name]) or "").partition("\n")[0].rstrip(".")
        lines.insert(rows[-1] + 1, f"| `{name}` | {summary} |" + " |" * (columns - 2))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in PAGES:
        text = path.read_text()
        for registry in (duda.METHODS, duda.LIKELIHOODS):
            text = completed(text, registry)
        path.write_text(text)
