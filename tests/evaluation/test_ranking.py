import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from duda import ClassPrediction
from duda.evaluation import rank

# ten in-distribution examples, then five out-of-distribution ones
SCORE = np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.55, 0.6, 0.7, 0.9, 0.45, 0.65, 0.75, 0.8, 0.95])
OOD = np.array([0] * 10 + [1] * 5)

# few distinct values, so that ties abound; any two differ by more than rounding
score = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
# one bad and one good example at least
cases = st.tuples(st.lists(st.tuples(score, st.booleans()), max_size=40), score, score).map(
    lambda case: [*case[0], (case[1], True), (case[2], False)]
)


def split(pairs):
    scores, bad = zip(*pairs, strict=True)
    return np.array(scores), np.array(bad)


def test_auroc_of_scikit_learn():
    # scikit-learn 1.9.1 and torchmetrics 1.9.0
    assert rank(SCORE, OOD).auroc == 0.82


def test_false_positive_rate_of_pytorch_ood():
    # FPR95TPR of pytorch-ood 0.4.0
    assert rank(SCORE, OOD).fpr_at(0.95) == 0.5


def test_in_distribution_positive():
    # scikit-learn 1.9.1: AUPR-IN and the FPR of papers that call good examples positive
    other = rank(-SCORE, 1 - OOD)
    assert other.average_precision == pytest.approx(0.9153499278499279, abs=1e-12)
    assert other.fpr_at(0.95) == 0.8
    assert other.auroc == 0.82


def test_all_tied():
    # scikit-learn 1.9.1
    tied = rank([0.5] * 4, [0, 1, 0, 1])
    assert tied.fpr_at(0.95) == 1.0
    assert tied.auroc == 0.5
    assert tied.average_precision == 0.5
    assert tied.thresholds.tolist() == [0.5]


def test_unbounded_scores():
    # scikit-learn 1.9.1; torchmetrics 1.9.0 squashes them into ties
    assert rank(torch.tensor([20.0, 30.0, 40.0, 50.0]), [0, 1, 0, 1]).auroc == 0.75


def test_what_is_caught():
    found = rank([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    assert found.thresholds.tolist() == [0.8, 0.4, 0.1]
    assert found.caught.tolist() == [1, 2, 2]
    assert found.false_alarms.tolist() == [0, 1, 2]
    assert found.caught.dtype == found.false_alarms.dtype == torch.int64


@settings(deadline=None)
@given(cases)
def test_scikit_learn(pairs):
    scores, bad = split(pairs)
    found = rank(scores, bad)
    assert found.auroc == pytest.approx(metrics.roc_auc_score(bad, scores), abs=1e-12)
    expected = metrics.average_precision_score(bad, scores)
    assert found.average_precision == pytest.approx(expected, abs=1e-12)
    fpr, tpr, _ = metrics.roc_curve(bad, scores, drop_intermediate=False)
    for wanted in (0.05, 0.5, 0.8, 0.95, 1.0):
        assert found.fpr_at(wanted) == pytest.approx(fpr[tpr >= wanted].min(), abs=1e-12)


@settings(deadline=None)
@given(cases)
def test_auroc_counts_pairs(pairs):
    scores, bad = split(pairs)
    gaps = scores[bad][:, None] - scores[~bad][None]
    assert rank(scores, bad).auroc == (2 * (gaps > 0).sum() + (gaps == 0).sum()) / (2 * gaps.size)


@settings(deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_order_means_nothing(pairs, random):
    one, other = rank(*split(pairs)), rank(*split(random.sample(pairs, len(pairs))))
    assert torch.equal(one.thresholds, other.thresholds)
    assert torch.equal(one.caught, other.caught)
    assert torch.equal(one.false_alarms, other.false_alarms)


@settings(deadline=None)
@given(cases)
def test_only_the_order_of_scores_counts(pairs):
    scores, bad = split(pairs)
    _, ranks = np.unique(scores, return_inverse=True)
    one, other = rank(scores, bad), rank(ranks, bad)
    assert torch.equal(one.caught, other.caught)
    assert torch.equal(one.false_alarms, other.false_alarms)


@settings(deadline=None)
@given(cases)
def test_the_opposite_score(pairs):
    scores, bad = split(pairs)
    assert rank(scores, bad).auroc == pytest.approx(1 - rank(-scores, bad).auroc, abs=1e-12)
    assert rank(scores, bad).auroc == rank(-scores, ~bad).auroc


def test_infinite_scores_have_a_rank():
    infinite = rank([-math.inf, 0.0, math.inf, math.inf], [0, 1, 0, 1])
    assert infinite.auroc == rank([-9.0, 0.0, 9.0, 9.0], [0, 1, 0, 1]).auroc == 0.625


def test_zero_has_no_sign():
    assert rank([0.0, -0.0], [0, 1]).auroc == 0.5


def test_large_integers_stay_apart():
    # float64 would make these one
    assert rank(torch.tensor([2**53, 2**53 + 1]), [0, 1]).auroc == 1


def test_positions_are_examples():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(5, (4, 3, 3), generator=generator).double()
    bad = torch.rand(4, 3, 3, generator=generator) < 0.5
    assert rank(scores, bad).auroc == rank(scores.flatten(), bad.flatten()).auroc


@pytest.mark.parametrize(
    ("scores", "bad", "message"),
    [
        ([0.1, 0.2], [0, 0], "calls all 2 examples good"),
        ([0.1, 0.2], [1, 1], "calls all 2 examples bad"),
        ([0.1, math.nan], [0, 1], "`score` has 1 NaN of 2"),
        ([], [], "`score` .* is empty"),
        ([0.1, 0.2], [0, 1, 1], r"`is_bad` has shape \(3,\), expected \(2,\)"),
        ([0.1, 0.2], [0, -1], "`is_bad` holds -1"),
    ],
)
def test_bad_input(scores, bad, message):
    with pytest.raises(ValueError, match=message):
        rank(scores, bad)


@pytest.mark.parametrize("tpr", [0.0, -0.1, 1.1, 95, math.nan])
def test_bad_rate(tpr):
    with pytest.raises(ValueError, match="`tpr` is"):
        rank(SCORE, OOD).fpr_at(tpr)
    with pytest.raises(ValueError, match="`tpr` is"):
        rank(SCORE, OOD).threshold_at(tpr)


@settings(deadline=None)
@given(cases)
def test_curves_of_scikit_learn(pairs):
    scores, bad = split(pairs)
    found = rank(scores, bad)
    fpr, tpr, thresholds = metrics.roc_curve(bad, scores, drop_intermediate=False)
    assert found.thresholds.tolist() == thresholds[1:].tolist()
    assert found.tpr.tolist() == pytest.approx(tpr[1:].tolist(), abs=1e-12)
    assert found.fpr.tolist() == pytest.approx(fpr[1:].tolist(), abs=1e-12)
    precision, recall, _ = metrics.precision_recall_curve(bad, scores)
    assert found.precision.tolist() == pytest.approx(precision[-2::-1].tolist(), abs=1e-12)
    expected = metrics.auc(recall, precision)
    assert found.aupr_trapezoid == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(cases)
def test_opposite_is_the_ranking_of_minus_the_score(pairs):
    scores, bad = split(pairs)
    found, expected = rank(scores, bad).opposite, rank(-scores, ~bad)
    assert torch.equal(found.thresholds, expected.thresholds)
    assert torch.equal(found.caught, expected.caught)
    assert torch.equal(found.false_alarms, expected.false_alarms)


def test_opposite_of_unsigned_scores():
    found = rank(np.array([3, 250], dtype=np.uint8), [0, 1])
    assert found.opposite.thresholds.tolist() == [-3, -250]


@settings(deadline=None)
@given(cases, st.floats(0.01, 1))
def test_threshold_at(pairs, tpr):
    scores, bad = split(pairs)
    threshold = rank(scores, bad).threshold_at(tpr)
    assert (scores[bad] >= threshold).mean() >= tpr
    assert (scores[bad] > threshold).mean() < tpr


def test_threshold_curve_of_humblot_renaux():
    # 20,000 thresholds over the scores' range, as their AUTC is defined; pytorch-ood 0.4.0 agrees
    levels = np.linspace(SCORE.min(), SCORE.max(), 20_001)
    good, bad = SCORE[OOD == 0], SCORE[OOD == 1]
    rates = [((good >= t).mean() + (bad < t).mean()) / 2 for t in levels]
    assert rank(SCORE, OOD).autc == pytest.approx(np.mean(rates), abs=1e-4)


@settings(deadline=None)
@given(cases)
def test_threshold_curve_has_ends(pairs):
    scores, bad = split(pairs)
    found = rank(scores, bad).autc
    assert -1e-12 <= found <= 1 + 1e-12
    assert found + rank(scores, ~bad).autc == pytest.approx(1, abs=1e-9)


def test_threshold_curve_of_special_scores():
    assert rank([0.0, 1.0], [0, 1]).autc == 0
    assert rank([0.0, 1.0], [1, 0]).autc == 1
    assert rank([2.0, 2.0], [1, 0]).autc == 0.5
    with pytest.raises(ValueError, match=r"reaches from 0\.0 to inf"):
        _ = rank([0.0, math.inf], [0, 1]).autc


def test_one_sort(monkeypatch):
    sizes = []
    argsort = np.argsort
    monkeypatch.setattr(
        "duda.evaluation.ties.np.argsort", lambda x: sizes.append(x.size) or argsort(x)
    )
    found = rank(SCORE, OOD)
    _ = found.auroc, found.average_precision, found.fpr_at(0.95), found.autc
    assert sizes == [15]


def test_real_errors(cifar):
    probs, labels = cifar
    answer = ClassPrediction.from_probs(probs)
    wrong = answer.labels.numpy() != labels
    found = rank(answer.score, wrong)
    expected = metrics.roc_auc_score(wrong, answer.score.numpy())
    assert found.auroc == pytest.approx(expected, abs=1e-9)
    assert found.auroc > 0.85
