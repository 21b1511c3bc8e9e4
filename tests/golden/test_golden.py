"""Every value that independent libraries computed, against what duda computes."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.golden

CASES = json.loads(Path(__file__).with_name("metrics.json").read_text())
# Each other module here has an ANSWERS: by the name of the metric, a function of inputs and
# params that returns what duda says, in the layout of "expected".
ANSWERS: dict[str, Callable[[Any, Any], Any]] = {}
for found in pkgutil.iter_modules(tests.golden.__path__):
    if not found.name.startswith("test_"):
        ANSWERS |= importlib.import_module(f"tests.golden.{found.name}").ANSWERS
VALUES = [case for case in CASES if case["kind"] == "value"]


@pytest.mark.parametrize("case", VALUES, ids=lambda case: f"{case['id']}-{case['metric']}")
def test_value(case: dict[str, Any]) -> None:
    inputs = {name: _numbers(value) for name, value in case["inputs"].items()}
    found = ANSWERS[case["metric"]](inputs, case["params"])
    _assert_close(found, case["expected"], case["tol"])


def _numbers(value: Any) -> Any:
    """Return lists as arrays, where they hold numbers only."""
    return np.array(value) if isinstance(value, list) else value


def _assert_close(found: Any, expected: Any, tolerance: float) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            _assert_close(found[name], value, tolerance)
        return
    expected = math.inf if expected == "inf" else expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
