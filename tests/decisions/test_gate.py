import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from duda.decisions import Decision, Gate
from duda.predictions import ClassPrediction, GaussianPrediction, QuantilePrediction

score_lists = st.lists(
    st.one_of(st.integers(0, 5).map(float), st.floats(-1e6, 1e6), st.just(math.inf)),
    min_size=1,
    max_size=40,
)


def example(size=1000, seed=0, rate=0.1):
    random = np.random.default_rng(seed)
    score = random.random(size)
    return score, random.random(size) < rate * score**3


@pytest.mark.parametrize(
    ("share", "size", "threshold"),
    [(0.95, 19, 19), (0.95, 99, 95), (0.07, 99, 7), (0.5, 2, 2), (0.95, 18, math.inf)],
    ids=["largest", "exact rank", "no rounding up", "halfway", "too few"],
)
def test_keep_takes_the_conformal_rank(share, size, threshold):
    gate = Gate.keep(share).fit(np.random.default_rng(0).permutation(size) + 1)
    assert gate.guarantee.threshold == threshold


def test_keep_says_what_this_threshold_keeps():
    # scipy.stats.beta(950, 50).ppf(0.05)
    gate = Gate.keep(0.95).fit(range(999))
    assert gate.guarantee.least_kept == pytest.approx(0.9381800172)
    assert "999 held-out" in gate.summary()
    assert "93.82 %" in gate.summary()
    few = Gate.keep(0.95).fit([1.0, 2.0])
    assert few.guarantee.least_kept == 1
    assert "at least 19 examples" in few.summary()
    assert few([math.inf]).accepted.all()


@given(score_lists, score_lists, st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.8]))
def test_few_false_alarms_are_much_kept(held_out, new, level):
    alarm = Gate.false_alarm(level).fit(held_out)(new)
    kept = Gate.keep(1 - level).fit(held_out)(new)
    assert torch.equal(alarm.decisions, kept.decisions)


@given(score_lists, st.randoms(use_true_random=False))
def test_order_means_nothing(score, random):
    bad = [value > 2 for value in score]
    pairs = list(zip(score, bad, strict=True))
    mixed, mixed_bad = zip(*random.sample(pairs, len(pairs)), strict=True)
    for gate in (Gate.keep(0.6), Gate.false_alarm(0.3, batch=True), Gate.cost(error=3, refusal=1)):
        one = gate.fit(score, is_bad=bad)(score).decisions
        other = gate.fit(mixed, is_bad=mixed_bad)(score).decisions
        assert torch.equal(one, other)


@given(score_lists, st.floats(-10, 10))
def test_tied_scores_are_decided_alike(score, value):
    gate = Gate.false_alarm(0.3, batch=True).fit(score)
    assert len(gate([*score, value, value]).decisions[-2:].unique()) == 1


def test_a_batch_is_judged_together():
    held_out = range(99)
    alone = Gate.false_alarm(0.05).fit(held_out)
    together = Gate.false_alarm(0.05, batch=True).fit(held_out)
    new = [*range(0, 95, 5), 97]
    assert alone(new).counts == {"accept": 19, "ask": 0, "refuse": 1}
    assert together(new).counts == {"accept": 20, "ask": 0, "refuse": 0}
    assert together([100.0] * 10).refused.all()
    assert alone(new).p_values[-1] == pytest.approx(0.03)
    assert "p-values from 0.01 up" in alone.summary()
    assert "Benjamini" in together.summary()
    assert "too few to refuse anything" in Gate.false_alarm(0.05).fit([1.0]).summary()


def test_predictions_tell_what_is_bad():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.55, 0.45]])
    answer = ClassPrediction.from_probs(probs)
    by_labels = Gate.cost(error=2, refusal=1).fit(answer, [0, 1, 1, 1])
    by_flags = Gate.cost(error=2, refusal=1).fit(answer.score, is_bad=[0, 0, 1, 1])
    assert by_labels.guarantee.state() == by_flags.guarantee.state()
    assert by_labels(answer).accepted.tolist() == [True, True, False, False]


@pytest.mark.parametrize("kind", ["gaussian", "quantiles"])
def test_numbers_are_bad_beyond_a_tolerance(kind):
    std = torch.tensor([[1.0], [2.0], [3.0]])
    if kind == "gaussian":
        answer = GaussianPrediction(torch.zeros(3, 1), std**2)
    else:
        answer = QuantilePrediction(torch.stack([-std, 0 * std, std], 1), [0.05, 0.5, 0.95])
    gate = Gate.cost(error=2, refusal=1).fit(answer, [[0.5], [-0.5], [0.6]], tolerance=0.5)
    assert gate.guarantee.bad == 1
    assert gate(answer).decisions.tolist() == [Decision.ACCEPT, Decision.ACCEPT, Decision.REFUSE]


def test_fit_again_keeps_nothing_of_before():
    gate = Gate.keep(0.5)
    assert gate.fit([1.0, 2.0, 3.0]) is gate
    assert gate.fit([7.0, 8.0, 9.0]).guarantee.threshold == 8
    assert repr(gate) == "<Gate: keep, fitted on 3 examples>"


def test_a_failed_fit_leaves_the_gate_as_it_was():
    gate = Gate.risk(0.2).fit([0.0] * 20, is_bad=[0] * 20)
    with pytest.raises(ValueError, match="no threshold can guarantee"):
        gate.fit([0.0] * 20, is_bad=[1] * 20)
    assert gate.guarantee.examples == 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gate.keep(1.0), "`share` is 1.0, expected a share between 0 and 1"),
        (lambda: Gate.keep(math.nan), "`share` is nan"),
        (lambda: Gate.risk(0), "`level` is 0,"),
        (lambda: Gate.risk(0.01, confidence=95), "`confidence` is 95,"),
        (lambda: Gate.false_alarm(-0.1), "`level` is -0.1"),
        (lambda: Gate.false_alarm(0.1, batch=2), "`batch` is 2, expected True or False"),
        (lambda: Gate.cost(error=1), "`refusal` and `asking` are both None"),
        (lambda: Gate.cost(error=-1, refusal=1), "`error` is -1, expected a finite cost"),
        (lambda: Gate.cost(error=math.inf, refusal=1), "`error` is inf"),
        (lambda: Gate.cost(error=None, refusal=1), "`error` is None"),
        (lambda: Gate.cost(error=1, asking=1, refused_error=0), "nothing may be refused"),
        (lambda: Gate.keep(0.5)([1.0]), "not fitted: call `gate.fit"),
        (lambda: Gate.keep(0.5).summary(), "not fitted"),
        (lambda: Gate.keep(0.5).fit([]), "`score` .* is empty"),
        (lambda: Gate.keep(0.5).fit([0.1, math.nan]), "`score` has 1 NaN"),
        (lambda: Gate.keep(0.5).fit([0.1, -math.inf]), "1 values of -inf"),
        (lambda: Gate.keep(0.5).fit([1.0])([math.nan]), "`score` has 1 NaN"),
        (lambda: Gate.keep(0.5).fit(np.ones((2, 3))), r"`score` has shape \(2, 3\), expected"),
        (lambda: Gate.risk(0.1).fit([0.1]), "give either `y` or `is_bad`"),
        (lambda: Gate.risk(0.1).fit([0.1], [0], is_bad=[0]), "not both"),
        (lambda: Gate.risk(0.1).fit([0.1], [0]), "scores alone"),
        (lambda: Gate.risk(0.1).fit([0.1], is_bad=[2]), "`is_bad` holds 2"),
        (lambda: Gate.risk(0.1).fit([0.1], is_bad=[0, 1]), r"`is_bad` has shape \(2,\)"),
        (
            lambda: Gate.risk(0.1).fit(ClassPrediction.from_probs([[0.5, 0.5]]), [2]),
            "`y` holds the label 2",
        ),
        (
            lambda: Gate.risk(0.1).fit(GaussianPrediction([[0.0]], [[1.0]]), [[0.0]]),
            "`tolerance` is None",
        ),
        (
            lambda: Gate.risk(0.1).fit(GaussianPrediction([[0.0]], [[1.0]]), [0.0], tolerance=1),
            r"`y.unsqueeze\(1\)`",
        ),
        (
            lambda: Gate.risk(0.1).fit(
                GaussianPrediction([[0.0]], [[1.0]]), [[math.nan]], tolerance=1
            ),
            "`y` has 1 NaN",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_old_name_of_the_guarantee():
    gate = Gate.keep(0.5)
    with pytest.warns(DeprecationWarning, match="`Gate.promise` is now `guarantee`"):
        assert gate.promise is gate.guarantee


def test_parameters_by_the_rules_of_scikit_learn():
    gate = Gate.risk(0.1).fit([0.0] * 100, is_bad=[0] * 100)
    assert gate.get_params()["guarantee__level"] == 0.1
    copy = clone(gate)
    assert copy.guarantee.get_params() == {"level": 0.1, "confidence": 0.95}
    assert not copy.guarantee.is_fitted
    assert gate.set_params(guarantee__level=0.2) is gate
    assert repr(gate) == "<Gate: risk, not fitted>"
    with pytest.raises(ValueError, match="unknown parameter 'guarantee__levle': did you mean"):
        gate.set_params(guarantee__levle=0.2)
    with pytest.raises(ValueError, match="`level` is 2"):
        gate.set_params(guarantee__level=2)
    assert gate.guarantee.level == 0.2


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_of_numpy_are_levels(kind):
    assert Gate.keep(kind(0.95)).guarantee.share == 0.95
    assert Gate.cost(error=np.int64(2), refusal=kind(0.1)).guarantee.refusal == 0.1
    answer = GaussianPrediction(torch.zeros(100, 1), torch.ones(100, 1))
    gate = Gate.risk(kind(0.1)).fit(answer, torch.zeros(100, 1), tolerance=kind(0.5))
    assert gate.guarantee.bad == 0
