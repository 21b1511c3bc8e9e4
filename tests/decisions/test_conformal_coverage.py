"""The promise: coverage over many calibration sets, and the law that it follows."""

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, betabinom, binomtest

from duda.decisions import (
    APS,
    LAC,
    RAPS,
    ConformalClassifier,
    ConformalRegressor,
    conformal,
    conformal_quantile,
)
from duda.decisions.conformal import GroupCoverage, GuaranteedCoverage
from tests.decisions.learned import learned

SPLITS, TESTS, ALPHA = 1000, 50, 0.1


@functools.cache
def classified(count, classes=4, seed=0):
    """Probabilities, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, classes))
    probs = torch.tensor(logits).softmax(1)
    return probs, torch.tensor((logits + rng.gumbel(size=logits.shape)).argmax(1))


def class_scores(score):
    def own(count):
        probs, y = classified(count)
        uniform = torch.rand(count, dtype=torch.float64) if score.randomized else None
        return score(probs, uniform).gather(1, y.unsqueeze(1)).squeeze(1)

    return own


def number_scores(kind):
    """Return scores by way of a regressor: the least threshold at which the target is inside."""

    def own(count):
        rng = np.random.default_rng(0)
        mean, std = rng.normal(size=count), rng.uniform(0.5, 2, size=count)
        y = mean + std * rng.standard_t(5, size=count)
        claimed = 1.3 * std
        given = {
            "absolute": {"mean": mean},
            "normalized": {"mean": mean, "std": claimed},
            "cqr": {"lower": mean - claimed, "upper": mean + claimed},
        }[kind]
        plain = learned(
            ConformalRegressor(ALPHA, kind),
            thresholds=torch.zeros(1).double(),
            calibration=torch.ones(1).long(),
        )
        mean = given.pop("mean", None)
        ends = plain(*([] if mean is None else [mean]), **given)
        y = torch.tensor(y)
        outside = torch.maximum(ends.lower - y, y - ends.upper)
        return outside / torch.tensor(claimed) if kind == "normalized" else outside

    return own


SCORES = {
    "lac": class_scores(LAC()),
    "aps": class_scores(APS(randomized=False)),
    "randomised aps": class_scores(APS()),
    "raps": class_scores(RAPS(0.05, 1, randomized=False)),
    "randomised raps": class_scores(RAPS(0.05, 1)),
    "absolute": number_scores("absolute"),
    "normalized": number_scores("normalized"),
    "cqr": number_scores("cqr"),
}


@pytest.mark.parametrize("n", [20, 100, 1000])
@pytest.mark.parametrize("name", SCORES)
def test_mean_coverage_over_many_splits(name, n):
    scores = SCORES[name](SPLITS * (n + TESTS)).view(SPLITS, n + TESTS)
    thresholds = torch.tensor([conformal_quantile(row, ALPHA) for row in scores[:, :n]])
    covered = (scores[:, n:] <= thresholds.unsqueeze(1)).sum(1)
    rank = math.ceil((n + 1) * 0.9)
    law = betabinom(TESTS, rank, n + 1 - rank)
    mean, error = float(covered.double().mean()) / TESTS, law.std() / TESTS / SPLITS**0.5
    assert abs(mean - rank / (n + 1)) < 4 * error
    assert 1 - ALPHA - 4 * error < mean < 1 - ALPHA + 1 / (n + 1) + 4 * error
    promised = GuaranteedCoverage(
        covered, torch.tensor([TESTS] * SPLITS), torch.tensor([n] * SPLITS), ALPHA
    )
    low, high = promised.band()
    inside = (low <= promised.observed) & (promised.observed <= high)
    assert 0.92 < inside.double().mean() < 1


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_classifier_from_end_to_end(score, per_class):
    coverages = []
    for seed in range(60):
        probs, y = classified(700, seed=seed)
        conformal = ConformalClassifier(0.2, score, per_class=per_class, seed=seed)
        found = conformal.fit(probs[:200], y[:200])(probs[200:]).summary(y[200:])
        coverages.append(found.by_class.observed if per_class else found.guaranteed.observed)
    mean = torch.stack(coverages).mean(0)
    assert ((mean > 0.785) & (mean < 0.84)).all()


def test_only_thresholds_of_each_class_hold_for_each_class():
    rng = np.random.default_rng(0)
    y = torch.tensor(rng.choice(3, size=6000, p=[0.6, 0.3, 0.1]))
    logits = torch.tensor(rng.normal(size=(6000, 3)))
    logits[torch.arange(6000), y] += torch.tensor([4.0, 2.0, 0.0])[y]
    worst = {}
    for per_class in (False, True):
        conformal = ConformalClassifier(0.1, per_class=per_class)
        conformal.fit(logits=logits[:3000], y=y[:3000])
        summary = conformal(logits=logits[3000:]).summary(y[3000:])
        worst[per_class] = float(summary.by_class.observed.min())
    assert worst[False] < 0.7
    assert worst[True] > 0.85


@given(st.integers(1, 2000), st.integers(1, 99))
def test_rank_is_exact(n, percent):
    scores = np.arange(1, n + 1)
    rank = math.ceil(Fraction(n + 1) * Fraction(100 - percent, 100))
    expected = rank if rank <= n else math.inf
    assert conformal_quantile(scores, percent / 100) == expected


@given(st.lists(st.integers(0, 3), min_size=9, max_size=30), st.randoms(use_true_random=False))
def test_ties_and_order(values, random):
    shuffled = random.sample(values, len(values))
    found = conformal_quantile(values, 0.1)
    assert found == conformal_quantile(shuffled, 0.1)
    assert np.mean(np.array(values) <= found) >= 0.9


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2, math.nan])
def test_bad_alpha(alpha):
    for make in (
        lambda: conformal_quantile([1.0], alpha),
        lambda: ConformalClassifier(alpha),
        lambda: ConformalRegressor(alpha),
    ):
        with pytest.raises(ValueError, match="`alpha` is"):
            make()


@pytest.mark.parametrize(
    ("scores", "message"), [([], "`scores` .* is empty"), ([math.nan], "`scores` has 1 NaN")]
)
def test_bad_scores(scores, message):
    with pytest.raises(ValueError, match=message):
        conformal_quantile(scores, 0.1)


def test_infinite_scores_are_the_worst():
    assert conformal_quantile([math.inf, 1.0, 2.0], 0.5) == 2
    assert conformal_quantile([math.inf, 1.0, 2.0], 0.25) == math.inf


def promised(n, count, alpha=0.1, hits=0):
    return GuaranteedCoverage(torch.tensor([hits]), torch.tensor([count]), torch.tensor([n]), alpha)


@pytest.mark.parametrize(("n", "alpha", "count"), [(20, 0.1, 7), (99, 0.05, 1000), (1000, 0.3, 1)])
def test_band_of_scipy(n, alpha, count):
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    low, high = promised(n, count, alpha).band(0.9)
    expected = betabinom.interval(0.9, count, rank, n + 1 - rank)
    assert [float(low) * count, float(high) * count] == pytest.approx(expected)
    assert float(promised(n, count, alpha).expected) == pytest.approx(rank / (n + 1))


def test_band_of_a_large_test_is_that_of_the_beta_law():
    low, high = promised(1000, 1_000_000).band()
    expected = beta.interval(0.95, 901, 100)
    assert (float(low), float(high)) == pytest.approx(expected, abs=1e-3)


def test_too_few_examples_cover_everything():
    few = promised(8, 100, hits=100)
    assert float(few.expected) == 1
    assert [float(end) for end in few.band()] == [1, 1]
    assert "too few, so that everything is covered" in str(few)


def test_summary_says_what_is_expected_beside_what_is_observed():
    text = str(promised(99, 1000, hits=880))
    assert text.startswith("coverage 0.88 of 1,000, guaranteed at least 0.9, calibrated on 99")
    assert "expected 0.9, and 0.831 to 0.953 in 95 % of such calibrations and tests" in text


def test_confidence_of_scipy():
    hits, counts = [0, 3, 9, 10, 0], [5, 10, 10, 10, 0]
    low, high = GroupCoverage(torch.tensor(hits), torch.tensor(counts)).confidence(0.9)
    for k, n, ends in zip(hits[:4], counts[:4], zip(low, high, strict=True), strict=False):
        expected = binomtest(k, n).proportion_ci(0.9, "exact")
        assert (float(ends[0]), float(ends[1])) == pytest.approx((expected.low, expected.high))
    assert (low[4], high[4]) == (0, 1)


def test_old_names_of_the_guarantee():
    found = ConformalRegressor(0.5, "absolute").fit([0.0], [1.0])([0.0]).summary([0.5])
    with pytest.warns(DeprecationWarning, match="`IntervalSummary.promised` is now `guaranteed`"):
        assert found.promised is found.guaranteed
    with pytest.warns(DeprecationWarning, match=r"now `duda.decisions.conformal.GuaranteedCov"):
        assert conformal.PromisedCoverage is GuaranteedCoverage
