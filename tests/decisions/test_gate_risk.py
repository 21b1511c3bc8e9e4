"""Bounds on the errors among the accepted, and what they cost."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from duda.decisions import Gate
from duda.decisions.binomial import fewest_without_event, upper_rate

flagged = st.lists(st.tuples(st.integers(0, 6).map(float), st.booleans()), min_size=1, max_size=25)
prices = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])


@pytest.mark.parametrize(("events", "trials"), [(0, 10), (3, 50), (49, 50), (50, 50), (7, 1000)])
def test_bound_of_scipy(events, trials):
    exact = binomtest(events, trials, alternative="less").proportion_ci(0.9, "exact").high
    assert float(upper_rate(events, trials, 0.9)) == pytest.approx(exact, abs=1e-12)


def test_bound_is_where_so_few_events_are_improbable():
    assert binom.cdf(7, 1000, float(upper_rate(7, 1000, 0.95))) == pytest.approx(0.05)
    assert upper_rate([0, 0], [0, 1], 0.95).tolist() == pytest.approx([1, 0.95])


@pytest.mark.parametrize(("rate", "confidence"), [(0.01, 0.95), (0.3, 0.5), (0.05, 0.999)])
def test_fewest_without_event(rate, confidence):
    count = fewest_without_event(rate, confidence)
    assert (
        float(upper_rate(0, count, confidence))
        <= rate
        < float(upper_rate(0, count - 1, confidence))
    )


@pytest.mark.parametrize(("events", "trials"), [(3, 2), (-1, 2)])
def test_impossible_counts(events, trials):
    with pytest.raises(ValueError, match="`events` has a count"):
        upper_rate(events, trials, 0.9)


def test_without_errors_all_is_accepted():
    gate = Gate.risk(0.01).fit(np.arange(2000), is_bad=np.zeros(2000))
    assert gate.guarantee.threshold == math.inf
    assert gate.guarantee.accepted == 2000
    assert gate.guarantee.bound <= 0.01


def test_errors_at_high_scores_are_refused():
    gate = Gate.risk(0.01).fit(np.arange(2000), is_bad=np.arange(2000) >= 1200)
    assert 598 <= gate.guarantee.accepted <= 1210
    assert gate.guarantee.accepted_bad <= 10
    assert int(gate(np.arange(2000)).accepted.sum()) == gate.guarantee.accepted
    assert "2,000 held-out examples, of which 800 were bad" in gate.summary()
    assert "at most 1 % are bad, with 95 % confidence" in gate.summary()


def test_the_bound_is_the_stated_one():
    score, bad = np.arange(2000), np.arange(2000) % 50 == 49
    promise = Gate.risk(0.05).fit(score, is_bad=bad).guarantee
    share = 0.05 / promise.tried
    exact = binomtest(promise.accepted_bad, promise.accepted, alternative="less")
    assert promise.bound == pytest.approx(exact.proportion_ci(1 - share, "exact").high)


def test_tied_scores_are_accepted_together_or_not_at_all():
    score = np.repeat([0.0, 1.0], [800, 1200])
    gate = Gate.risk(0.01).fit(score, is_bad=score)
    assert gate.guarantee.accepted == 800
    assert gate([0.0, 1.0]).accepted.tolist() == [True, False]


@pytest.mark.parametrize(
    ("size", "bad", "message"),
    [
        (298, 0, "from 298 examples, expected at least 299"),
        (2000, 2000, "bounds the rate by 100 % only"),
        (2000, 100, "no threshold can guarantee that at most 1 % of the accepted are bad"),
    ],
)
def test_what_cannot_be_promised(size, bad, message):
    flags = np.arange(size) < bad
    with pytest.raises(ValueError, match=message):
        Gate.risk(0.01).fit(np.zeros(size), is_bad=flags)


@given(flagged, prices, st.none() | prices, st.none() | prices, st.none() | prices)
def test_no_thresholds_cost_less(points, error, refusal, asking, refused_error):
    if refusal is None:
        asking, refused_error = asking or 0.0, None
    score, bad = (torch.tensor(part) for part in zip(*points, strict=True))
    gate = Gate.cost(error=error, refusal=refusal, asking=asking, refused_error=refused_error)
    promise = gate.fit(score, is_bad=bad).guarantee
    of_bad = refusal if refused_error is None else refused_error

    def price(accepted, asked):
        refused = ~(accepted | asked)
        return float(
            error * (accepted & bad).sum()
            + (asking or 0.0) * asked.sum()
            + (refusal or 0.0) * (refused & ~bad).sum()
            + (of_bad or 0.0) * (refused & bad).sum()
        )

    possible = []
    for low, high in itertools.product([-1.0, *score.unique().tolist()], repeat=2):
        accepted, asked = score <= low, (score > low) & (score <= high)
        allowed = (asking is not None or not asked.any()) and (
            refusal is not None or bool((accepted | asked).all())
        )
        if low <= high and allowed:
            possible.append(price(accepted, asked))
    found = gate(score)
    assert price(found.accepted, found.asked) == pytest.approx(min(possible))
    assert promise.mean_cost == pytest.approx(min(possible) / len(score))


def test_only_the_cheaper_of_two_constant_prices_is_paid():
    score, bad = np.arange(10), np.arange(10) >= 5
    assert Gate.cost(error=9, refusal=1, asking=2).fit(score, is_bad=bad)(score).counts["ask"] == 0
    asks = Gate.cost(error=9, refusal=2, asking=1).fit(score, is_bad=bad)
    assert asks(score).counts == {"accept": 5, "ask": 5, "refuse": 0}
    assert "asks a person about the rest" in asks.summary()


def test_a_person_sees_what_is_unclear():
    score = np.repeat([0.0, 1.0, 2.0], 10)
    bad = np.r_[np.zeros(10), np.arange(10) % 2, np.ones(10)]
    gate = Gate.cost(error=10, refusal=10, asking=1, refused_error=0).fit(score, is_bad=bad)
    assert gate([0.0, 1.0, 2.0]).decisions.tolist() == [0, 1, 2]
    assert gate.guarantee.mean_cost == pytest.approx(1 / 3)
    assert "asks a person about those up to 1, refuses the rest" in gate.summary()


def test_chow_refuses_where_errors_are_more_probable_than_their_price():
    random = np.random.default_rng(0)
    score = random.random(200_000)
    gate = Gate.cost(error=5, refusal=1).fit(score, is_bad=random.random(200_000) < score)
    assert gate.guarantee.threshold == pytest.approx(1 / 5, abs=0.02)
