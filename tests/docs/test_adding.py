"""The page on adding a method is true: its file and its line are all that it takes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.type_checks import MYPY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text()
FILE, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[LINE] = re.findall(r"```\{code-block\} python\n(.*\n)```", PAGE)
PLACES = re.findall(r"`(src/duda/methods/\w+\.py)`", PAGE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout in which a reader has done what the page says."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("src", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "README.es.md", "docs/tables.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    method, registry = (copy / place for place in PLACES[:2])
    assert registry.name == "__init__.py"
    method.write_text(FILE)
    registry.write_text(
        registry.read_text().replace("from duda.registry", f"{LINE}from duda.registry")
    )
    run(copy, "ruff", "check", "--quiet", "--fix", "src")  # as `make format`
    return copy


def run(checkout: Path, *module: str, **environment: str) -> str:
    """Run a module of Python in the copy, with the copy's duda, and return what it says."""
    where = os.environ | {"PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}"} | environment
    command = [sys.executable, "-m", *module]
    found = subprocess.run(
        command, cwd=checkout, env=where, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def passed(checkout: Path, *tests: str) -> int:
    """Run what tests say of the new method, and return how many passed."""
    said = run(
        checkout, "pytest", "-q", *tests, "-k", "heckpoint", "-o", "addopts=--doctest-modules"
    )
    return int(re.findall(r"(\d+) passed", said)[0])


def test_it_passes_the_contract_tests(checkout: Path) -> None:
    assert passed(checkout, "tests/methods/test_contract.py", "tests/test_import.py") > 90
    assert passed(checkout, PLACES[0]) == 1, "the example in its docstring"


@pytest.mark.nightly
def test_it_passes_the_tests_of_the_epistemic_part(checkout: Path) -> None:
    assert passed(checkout, "tests/methods/test_epistemic.py") >= 1


def test_it_passes_the_linters(checkout: Path) -> None:
    run(checkout, "ruff", "check", "src")
    run(checkout, "ruff", "format", "--check", "src")


def test_it_passes_the_type_checker(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_ensemble.py").write_text(FILE)  # by itself, beside the duda that is
    config = ("--config-file", str(ROOT / "pyproject.toml"))
    where = {"MYPYPATH": str(ROOT / "src")} | MYPY
    run(tmp_path, "mypy", *config, "checkpoint_ensemble.py", **where)


@pytest.mark.nightly
def test_all_of_duda_with_it_passes_the_type_checker(checkout: Path) -> None:
    run(checkout, "mypy", MYPY_CACHE_DIR=str(checkout / ".mypy_cache"))


def test_it_gets_a_row_in_the_readme(checkout: Path) -> None:
    run(checkout, "docs.tables")
    rows = (checkout / "README.md").read_text().splitlines()
    [row] = [row for row in rows if row.startswith("| `CheckpointEnsemble` |")]
    assert "A network whose weights after each of its latest epochs are the draws" in row
