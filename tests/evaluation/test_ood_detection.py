import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from duda.evaluation import ood, ood_detection, rank
from duda.evaluation.curves import steps

INSIDE = [0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.55, 0.6, 0.7, 0.9]
OUTSIDE = [0.45, 0.65, 0.75, 0.8, 0.95]
NAMES = ["auroc", "aupr_out", "aupr_in", "fpr95_out", "fpr95_in"]

score = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
some = st.lists(score, min_size=1, max_size=30).map(np.array)


def blurred(n_in, n_out, shift=1.0):
    generator = np.random.default_rng(0)
    return generator.normal(size=n_in), generator.normal(shift, size=n_out)


def test_figures_of_other_libraries():
    # scikit-learn 1.9.1 and pytorch-ood 0.4.0
    found = ood(INSIDE, OUTSIDE)
    assert (found.n_in, found.n_out) == (10, 5)
    assert found.auroc == 0.82
    assert found.aupr_in == pytest.approx(0.9153499278499279, abs=1e-12)
    assert found.fpr95_out == 0.5
    assert found.fpr95_in == 0.8


@given(some, some)
def test_both_conventions(inside, outside):
    found = ood(inside, outside)
    scores = np.concatenate([inside, outside])
    is_out = np.arange(len(scores)) >= len(inside)
    assert found.auroc == pytest.approx(metrics.roc_auc_score(is_out, scores), abs=1e-12)
    for value, positive, sign in ((found.aupr_out, is_out, 1), (found.aupr_in, ~is_out, -1)):
        expected = metrics.average_precision_score(positive, sign * scores)
        assert value == pytest.approx(expected, abs=1e-12)
    assert found.fpr95_out == pytest.approx((inside >= found.threshold_out).mean(), abs=1e-12)
    assert found.fpr95_in == pytest.approx((outside <= found.threshold_in).mean(), abs=1e-12)
    assert (outside >= found.threshold_out).mean() >= 0.95 > (outside > found.threshold_out).mean()
    assert (inside <= found.threshold_in).mean() >= 0.95 > (inside < found.threshold_in).mean()


def test_large_scores_stay_apart():
    # a sigmoid in float32, as torchmetrics 1.9.0 puts before its AUROC, makes them one: 0.5
    found = ood(torch.tensor([20.0, 40.0]), torch.tensor([30.0, 50.0]))
    assert found.auroc == 0.75
    assert ood([-40.0, -20.0], [-30.0, -10.0]).auroc == 0.75


def test_perfect_and_useless():
    found = ood([0, 1], [2, 3, 4])
    assert (found.auroc, found.fpr95_in, found.fpr95_out) == (1, 0, 0)
    tied = ood([1.0] * 3, [1.0] * 2)
    assert (tied.auroc, tied.fpr95_in, tied.fpr95_out) == (0.5, 1, 1)
    assert tied.aupr_out == 0.4


def test_resampled_counts_are_those_of_resampled_scores(monkeypatch):
    inside, outside = (np.round(part, 1) for part in blurred(40, 25))
    separated = ood(inside, outside)
    thresholds = separated.ranking.thresholds.numpy()
    rows = []
    resampled = ood_detection._resampled

    def noting(counts, many, generator):
        cumulated = resampled(counts, many, generator)
        rows.append([np.repeat(thresholds, np.diff(row, prepend=0)) for row in cumulated])
        return cumulated

    monkeypatch.setattr(ood_detection, "_resampled", noting)
    # one chunk, so that the draws of each kind come in one list
    monkeypatch.setattr(ood_detection, "_ENTRIES", 10_000)
    found = separated.intervals(resamples=50, level=0.8)
    outs, ins = rows
    assert {len(each) for each in outs} == {25}
    assert {len(each) for each in ins} == {40}
    assert all(np.isin(each, inside).all() for each in ins)
    again = [ood(*pair) for pair in zip(ins, outs, strict=True)]
    for name in NAMES:
        ends = np.quantile([getattr(each, name) for each in again], [0.1, 0.9])
        assert found[name] == pytest.approx(tuple(ends), abs=1e-12)


def test_intervals_are_as_wide_as_the_law_says():
    inside, outside = blurred(400, 600)
    found = ood(inside, outside)
    low, high = found.intervals(level=0.95)["auroc"]
    # DeLong et al. 1988: the variance of an AUROC from its placements
    beats = (outside[:, None] > inside[None]).astype(float)
    variance = beats.mean(1).var(ddof=1) / 600 + beats.mean(0).var(ddof=1) / 400
    assert (high - low) == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.1)
    assert low < found.auroc < high


def test_intervals_hold_the_truth():
    # one standard deviation between normal scores: AUROC = Φ(1 / √2)
    truth = 0.7602499389065233
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        pair = generator.normal(size=60), generator.normal(1, size=60)
        low, high = ood(*pair).intervals(resamples=200)["auroc"]
        held += low <= truth <= high
    assert (
        177 <= held <= 199
    )  # 0.95 of 200 within three standard deviations, and a little for n = 60


def test_seeds():
    found = ood(*blurred(50, 50))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert found.intervals(seed=1) == found.intervals(seed=1)
    assert found.intervals(seed=1) != found.intervals(seed=2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_chunks_change_nothing_in_law(monkeypatch):
    sizes = []
    resampled = ood_detection._resampled
    monkeypatch.setattr(
        ood_detection,
        "_resampled",
        lambda counts, many, generator: sizes.append(many) or resampled(counts, many, generator),
    )
    ood(*blurred(1000, 2000)).intervals(resamples=25)
    assert sum(sizes) == 2 * 25
    assert max(sizes) * 3000 <= ood_detection._ENTRIES


def test_table():
    found = ood(*blurred(1000, 200))
    lines = str(found).splitlines()
    assert lines[0] == "1,000 examples in distribution, 200 out of it"
    low, high = found.intervals()["auroc"]
    assert lines[1].split() == ["AUROC", f"{found.auroc:.4f}", f"[{low:.4f},", f"{high:.4f}]"]
    assert f"{found.threshold_in:.4g}" in lines[6]
    assert lines[-1] == "[ ]: 95 % of 1,000 bootstrap draws."


def test_it_is_a_ranking():
    found = ood(INSIDE, OUTSIDE).ranking
    expected = rank(INSIDE + OUTSIDE, [0] * 10 + [1] * 5)
    assert torch.equal(found.caught, expected.caught)
    assert steps(found.false_alarms).sum() == 10


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([0.1, math.nan], [0.2], "`id_scores` has 1 NaN of 2"),
        ([0.1], [math.nan], "`ood_scores` has 1 NaN of 1"),
        ([], [0.1], "`id_scores` .* is empty"),
        ([0.1], [], "`ood_scores` .* is empty"),
    ],
)
def test_bad_input(inside, outside, message):
    with pytest.raises(ValueError, match=message):
        ood(inside, outside)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 1.0}, "`level` is 1.0"),
        ({"level": 95}, "`level` is 95"),
        ({"resamples": 0}, "`resamples` is 0"),
    ],
)
def test_bad_intervals(arguments, message):
    with pytest.raises(ValueError, match=message):
        ood(INSIDE, OUTSIDE).intervals(**arguments)
