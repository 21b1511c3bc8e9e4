"""Each promise, over many sets of held-out examples from a distribution that is known."""

import numpy as np
import pytest
import torch

from duda.decisions import Gate

RUNS = 500


def drawn(random, size, ties):
    """Return scores in [0, 1], bad ones with probability 0.1 score²."""
    score = random.random(size)
    if ties:
        score = np.ceil(score * 8) / 8
    return score, random.random(size) < 0.1 * score**2


def true_rates(threshold, ties):
    """Return the shares that are accepted and, among those, bad."""
    if not ties:
        accepted = min(threshold, 1.0)
        return accepted, 0.1 * accepted**2 / 3
    values = np.arange(1, 9) / 8
    values = values[values <= threshold]
    return len(values) / 8, 0.1 * float((values**2).mean())


@pytest.mark.parametrize("size", [20, 100, 1000])
def test_keep_keeps_its_share_on_average(size):
    random = np.random.default_rng(size)
    kept = [
        min(Gate.keep(0.9).fit(random.random(size)).guarantee.threshold, 1.0) for _ in range(2000)
    ]
    rank = np.ceil((size + 1) * 0.9)
    mean = rank / (size + 1)
    error = np.sqrt(mean * (1 - mean) / (size + 2) / 2000)
    assert abs(np.mean(kept) - mean) < 4 * error
    assert 0.9 <= mean < 0.9 + 1 / (size + 1)


def test_what_keep_keeps_at_least():
    random = np.random.default_rng(0)
    below = 0
    for _ in range(2000):
        promise = Gate.keep(0.9).fit(random.random(150)).guarantee
        below += promise.threshold < promise.least_kept
    assert abs(below / 2000 - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("size", "confidence"), [(400, 0.8), (2000, 0.8), (2000, 0.5)])
def test_risk_is_seldom_above_its_level(size, confidence, ties):
    random = np.random.default_rng(size)
    broken = fitted = 0
    accepted = []
    for _ in range(RUNS):
        score, bad = drawn(random, size, ties)
        try:
            promise = Gate.risk(0.02, confidence).fit(score, is_bad=bad).guarantee
        except ValueError:
            continue
        share, rate = true_rates(promise.threshold, ties)
        broken += rate > 0.02
        fitted += 1
        accepted.append(share)
    allowed = 1 - confidence
    assert broken / RUNS <= allowed + 3 * np.sqrt(allowed * confidence / RUNS)
    assert fitted > 0
    if size == 2000 and not ties:  # the best threshold accepts 0.77
        assert fitted > 0.9 * RUNS
        assert np.mean(accepted) > 0.5


def test_a_score_that_says_nothing_does_not_break_the_risk():
    random = np.random.default_rng(0)
    broken = 0
    for _ in range(RUNS):
        try:
            Gate.risk(0.05, 0.8).fit(random.random(400), is_bad=random.random(400) < 0.055)
        except ValueError:
            continue
        broken += 1
    assert 0 < broken / RUNS <= 0.2


def test_false_alarms_are_as_rare_as_promised():
    random = np.random.default_rng(0)
    rates = []
    for _ in range(1000):
        gate = Gate.false_alarm(0.1).fit(random.standard_normal(50))
        rates.append(float(gate(random.standard_normal(50)).refused.double().mean()))
    error = np.std(rates) / np.sqrt(1000)
    assert np.mean(rates) <= 0.1 + 3 * error
    assert np.mean(rates) >= 0.1 - 1 / 51 - 3 * error


@pytest.mark.parametrize("outliers", [0, 10, 50])
def test_false_discoveries_are_as_rare_as_promised(outliers):
    random = np.random.default_rng(outliers)
    shares, found = [], 0
    for _ in range(1000):
        gate = Gate.false_alarm(0.2, batch=True).fit(random.standard_normal(200))
        new = np.r_[random.standard_normal(50), 4 + random.standard_normal(outliers)]
        refused = gate(new).refused
        shares.append(int(refused[:50].sum()) / max(1, int(refused.sum())))
        found += int(refused[50:].sum())
    allowed = 0.2 * 50 / (50 + outliers)
    assert np.mean(shares) <= allowed + 3 * np.std(shares) / np.sqrt(1000)
    assert found >= 0.8 * 1000 * outliers


def test_cost_comes_near_the_best():
    random = np.random.default_rng(0)
    score, bad = drawn(random, 5000, ties=False)
    threshold = Gate.cost(error=20, refusal=1).fit(score, is_bad=bad).guarantee.threshold

    def cost(limit):
        return 20 * 0.1 * limit**3 / 3 + 1 - limit

    assert cost(threshold) < cost(np.sqrt(1 / 2)) + 0.02
    assert torch.tensor(threshold) < 1
