"""`import duda` brings in nothing heavy, and every name it promises is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import duda

HEAVY = [
    "jinja2",
    "lightning",
    "matplotlib",
    "pandas",
    "plotly",
    "pooch",
    "ray",
    "rich",
    "scipy",
    "sklearn",
    "torchmetrics",
    "typer",
]


def imported(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has imported after `code`."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("code", ["import duda", "from duda import *"])
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not imported(code) & set(HEAVY)


def test_importing_duda_alone_imports_no_room_of_it() -> None:
    assert {name for name in imported("import duda") if name.startswith("duda")} == {"duda"}


@pytest.mark.parametrize("name", duda.__all__)
def test_promised_names_are_there(name: str) -> None:
    value = getattr(duda, name)
    assert value is getattr(duda, name)
    assert name in dir(duda)
    assert getattr(value, "__name__", name).split(".")[-1] == name


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'duda' has no attribute 'MCDropOut'"):
        duda.MCDropOut  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from duda import nothing  # noqa: F401
