"""Runs a gallery script in quick mode, as its readers would, and hands its names to the test."""

import os
import runpy
import sys
from functools import cache
from pathlib import Path

import matplotlib as mpl
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@cache
def _run(name: str) -> dict[str, object]:
    import matplotlib.pyplot as plt

    found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    found["all_figures"] = [plt.figure(number) for number in plt.get_fignums()]
    return found


@pytest.fixture
def example(monkeypatch):
    """Return a function from a script's name to its globals, once it has run to its end.

    Its figures are among them, as `all_figures`.
    """
    import matplotlib.pyplot as plt

    monkeypatch.setenv("DUDA_QUICK", "1")
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    mpl.use("agg")

    def run(name: str, *, needs_data: bool = False) -> dict[str, object]:
        if needs_data and not os.environ.get("DUDA_DATA"):
            pytest.skip("needs the data sets in the folder that DUDA_DATA names")
        return _run(name)

    yield run
    plt.close("all")
