"""More data leave less to learn, what lies far away is unknown, and noise is what it is."""

from __future__ import annotations

import pytest

from benchmarks.epistemic import measured, pairs

# What a published method is known to fail, and why.
FAILS = {
    (
        "deterministic",
        "falls",
    ): "evidence counts how easy a fit is, not how many examples there are",
    ("deterministic", "noise"): "parts of one network's output cannot be told apart by its loss",
    ("deterministic", "ring"): "evidence grows along rays where a ReLU network does",
}

LAWS = {
    "falls": lambda found: found.falls < 1,
    "rises": lambda found: found.rises > 1,
    "noise": lambda found: abs(found.noise - 1) < 0.25,
    "ring": lambda found: found.ring > 1,
}


@pytest.mark.parametrize("pair", list(pairs()), ids=lambda pair: pair[0])
def test_the_parts_of_uncertainty_mean_what_they_say(pair: tuple[str, str, str]) -> None:
    result = measured(*pair)
    holds = {law: check(result) for law, check in LAWS.items()}
    expected = {law: (pair[0], law) not in FAILS for law in LAWS}
    assert holds == expected, result
