"""More data leave less to learn, what lies far away is unknown, and noise is what it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.epistemic import measured, pairs

STEPS = 1000
# Methods that train for long obey the laws after fewer steps, too; nightly after all of them.
FEWER = {"batch-ensemble": 250, "deep-ensemble": 500, "sde-net": 250, "sub-ensemble": 250}

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


def cases() -> Iterator[object]:
    """Yield each method with its likelihoods, and how long it is trained."""
    for pair in pairs():
        fewer = FEWER.get(pair[0])
        if fewer:
            yield pytest.param(pair, fewer, id=pair[0])
        marks = [pytest.mark.nightly] if fewer else []
        yield pytest.param(pair, STEPS, id=f"{pair[0]}, {STEPS} steps", marks=marks)


@pytest.mark.parametrize(("pair", "steps"), list(cases()))
def test_the_parts_of_uncertainty_mean_what_they_say(
    pair: tuple[str, str, str], steps: int
) -> None:
    result = measured(*pair, steps=steps)
    holds = {law: check(result) for law, check in LAWS.items()}
    expected = {law: (pair[0], law) not in FAILS for law in LAWS}
    assert holds == expected, result
