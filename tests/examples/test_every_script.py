"""What holds for every script of the gallery."""

import ast
import re

import pytest

from tests.examples.conftest import EXAMPLES

SCRIPTS = sorted(EXAMPLES.glob("plot_*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_reads_in_under_120_lines_with_a_title_and_a_quick_mode(script):
    text = script.read_text()
    lines = text.splitlines()
    assert len(lines) < 120
    title, rule = (ast.get_docstring(ast.parse(text)) or "").splitlines()[:2]
    assert title.strip()
    assert re.fullmatch("=+", rule)
    assert "DUDA_QUICK" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_has_a_test_of_its_own(script):
    name = script.stem.removeprefix("plot_")
    test = EXAMPLES.parent / "tests" / "examples" / f"test_{name}.py"
    assert f'"{script.stem}"' in test.read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_imports_what_a_reader_has(script):
    modules = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").split(".")[0])
    known = {"duda", "torch", "numpy", "matplotlib", "plotly", "sklearn", "scipy"}
    own = {path.stem for path in EXAMPLES.glob("*.py")}
    assert modules <= known | own | {"collections", "functools", "itertools", "math", "os", "time"}
