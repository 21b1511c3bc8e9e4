"""`import duda` brings in nothing heavy, and every name it promises is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import duda
from duda.registry import exported, registered
from tests.type_checks import MYPY

CONFIG = Path(__file__).parents[1] / "pyproject.toml"

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


def test_importing_duda_alone_imports_no_package_of_it() -> None:
    assert {name for name in imported("import duda") if name.startswith("duda")} == {"duda"}


@pytest.mark.parametrize("name", duda.__all__)
def test_promised_names_are_there(name: str) -> None:
    value = getattr(duda, name)
    assert value is getattr(duda, name)
    assert name in dir(duda)
    assert getattr(value, "__name__", name).split(".")[-1] == name


def test_a_method_of_the_registry_is_a_name_of_duda(monkeypatch: pytest.MonkeyPatch) -> None:
    class Another(duda.Deterministic):
        """Registered, as an import in the package's `__init__` does it."""

    Another.__module__ = "duda.methods.another_one"
    monkeypatch.setattr("duda.methods.Another", Another, raising=False)
    assert registered("duda.methods", duda.UncertainModel)["another-one"] is Another
    assert "Another" in duda.__all__
    assert "Another" in dir(duda)
    assert duda.Another is Another
    del vars(duda)["Another"]  # it would stay there for the other tests


def test_names_are_public_but_for_modules_and_what_others_made() -> None:
    assert not {"registered", "base", "os", "annotations"} & set(duda.__all__)
    assert duda.FitState is duda.hooks.FitState
    assert {"METHODS", "UncertainModel", "GaussianPrior"} < set(exported("duda.methods"))
    assert registered("duda.methods", duda.UncertainModel) == duda.METHODS
    assert next(iter(duda.METHODS)) == "deterministic"
    assert duda.UncertainModel not in duda.METHODS.values()


def test_two_methods_of_one_file_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = type("Twin", (duda.MCDropout,), {"__module__": "duda.methods.mc_dropout"})
    monkeypatch.setattr("duda.methods.Twin", twin, raising=False)
    with pytest.raises(ValueError, match="MCDropout and Twin from `mc_dropout`, expected one"):
        registered("duda.methods", duda.UncertainModel)


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'duda' has no attribute 'MCDropOut'"):
        duda.MCDropOut  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from duda import nothing  # noqa: F401


def test_a_type_checker_knows_each_name_and_no_other(tmp_path: Path) -> None:
    lines = [f"reveal_type(duda.{name})" for name in [*duda.__all__, "MCDropOut"]]
    (tmp_path / "user.py").write_text("\n".join(["import duda", *lines, ""]))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(CONFIG), "user.py"]
    where = os.environ | MYPY | {"MYPYPATH": str(Path(duda.__file__).parents[1])}
    found = subprocess.run(
        command, cwd=tmp_path, env=where, capture_output=True, text=True, check=False
    )
    told = [line for line in found.stdout.splitlines() if line.startswith("user.py")]
    *known, misspelled, unknown = told
    assert 'error: Module has no attribute "MCDropOut"' in misspelled
    assert 'Revealed type is "Any"' in unknown
    assert len(known) == len(duda.__all__)
    for name, line in zip(duda.__all__, known, strict=True):
        assert "note: Revealed type is" in line, line
        assert 'is "Any"' not in line, name
