"""Summaries count as people do: one example, two examples."""

from __future__ import annotations

import pytest
import torch

from duda import Gate

GATES = [Gate.keep(0.3), Gate.false_alarm(0.5), Gate.cost(error=1, asking=0.5), Gate.risk(0.96)]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.guarantee.name)
def test_one_example_and_several(gate: Gate) -> None:
    one = Gate(gate.guarantee).fit([0.1], is_bad=[False]).summary()
    assert one.startswith("Rests on 1 held-out example")
    assert "1 held-out examples" not in one
    assert "1 examples" not in one
    many = Gate(gate.guarantee).fit(torch.rand(2000), is_bad=[False] * 2000).summary()
    assert many.startswith("Rests on 2,000 held-out examples")


def test_one_that_was_bad() -> None:
    gate = Gate.cost(error=1, asking=0.5).fit([0.1, 0.2], is_bad=[True, False])
    assert "of which 1 was bad" in gate.summary()
