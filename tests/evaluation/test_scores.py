import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from duda import ClassPrediction, GaussianPrediction
from duda.evaluation import accuracy, brier, density_nll, nll, rmse

PROBS = [
    [0.7, 0.2, 0.1],
    [0.1, 0.8, 0.1],
    [0.2, 0.3, 0.5],
    [0.6, 0.3, 0.1],
    [0.05, 0.05, 0.9],
    [0.34, 0.33, 0.33],
]
LABELS = [0, 1, 1, 0, 2, 2]
# what the golden values of uncertainty-toolbox, torch and scipy were computed from
MEAN, STD, TARGET = [0.0, 1.0, 2.0, 3.0], [1.0, 0.5, 2.0, 1.0], [0.5, 1.2, -1.0, 3.0]


def column(values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def gaussian():
    return GaussianPrediction(column(MEAN), column(STD).square())


@st.composite
def distributions(draw, classes=3):
    weights = draw(st.lists(st.floats(0.01, 1), min_size=classes, max_size=classes))
    return [weight / sum(weights) for weight in weights]


@st.composite
def labelled(draw):
    n = draw(st.integers(1, 12))
    probs = [draw(distributions()) for _ in range(n)]
    return probs, [draw(st.integers(0, 2)) for _ in range(n)]


def test_brier_of_scikit_learn():
    # scikit-learn 1.9.1, the sum over classes
    assert brier(PROBS, LABELS) == pytest.approx(0.32139999999999996, abs=1e-12)


def test_brier_of_two_classes_is_twice_that_of_one():
    # brier_score_loss of scikit-learn 1.9.1 takes the positive class alone: 0.0375
    positive = np.array([0.1, 0.9, 0.8, 0.3])
    found = brier(np.stack([1 - positive, positive], axis=1), [0, 1, 1, 0])
    assert found == pytest.approx(2 * 0.0375, abs=1e-12)


def test_brier_ends():
    assert brier([[1.0, 0.0]], [0]) == 0
    assert brier([[1.0, 0.0]], [1]) == 2


def test_nll_is_infinite_where_the_truth_was_ruled_out():
    # as torch says; scikit-learn 1.9.1 clips and says 18.02
    probs = [[1.0, 0.0], [1.0, 0.0]]
    assert nll(probs, [0, 1]) == math.inf
    assert nll(probs, [0, 0]) == 0


def test_nll_of_saturated_logits_is_exact():
    logits = torch.tensor([[200.0, 0.0], [0.0, 5000.0]])
    assert nll(logits=logits, y=[1, 0]) == pytest.approx(2600, rel=1e-12)
    assert nll(logits=logits, y=[0, 1]) == pytest.approx(math.exp(-200) / 2, rel=1e-6, abs=1e-80)
    assert math.copysign(1, nll([[1.0, 0.0]], [0])) == 1


def test_nll_of_a_prediction_in_log_space():
    answer = ClassPrediction.from_probs(PROBS)
    assert nll(logits=answer.log_probs, y=LABELS) == pytest.approx(nll(PROBS, LABELS), abs=1e-12)


def test_logits_and_probs_agree():
    logits = torch.tensor([[1.0, -0.5, 2.0], [0.0, 0.3, -4.0]], dtype=torch.float64)
    for metric in (accuracy, nll, brier):
        expected = metric(logits.softmax(1), [2, 0])
        assert metric(y=[2, 0], logits=logits) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(labelled())
def test_scikit_learn(case):
    probs, y = case
    expected = metrics.log_loss(y, probs, labels=[0, 1, 2])
    assert nll(probs, y) == pytest.approx(expected, rel=1e-9)
    assert accuracy(probs, y) == metrics.accuracy_score(y, np.argmax(probs, axis=1))
    squares = metrics.mean_squared_error(np.eye(3)[y], probs)
    assert brier(probs, y) == pytest.approx(3 * squares, abs=1e-12)


@settings(deadline=None)
@given(labelled(), st.randoms(use_true_random=False))
def test_order_means_nothing(case, random):
    order = random.sample(range(len(case[1])), len(case[1]))
    shuffled = [[part[i] for i in order] for part in case]
    for metric in (accuracy, nll, brier):
        assert metric(*case) == pytest.approx(metric(*shuffled), abs=1e-12)


@settings(deadline=None)
@given(distributions(), distributions())
def test_proper_scores_are_best_at_the_votes(votes, other):
    soft = torch.tensor([votes], dtype=torch.float64)
    assert nll([votes], soft) <= nll([other], soft) + 1e-12
    assert brier([votes], soft) <= brier([other], soft) + 1e-12
    assert brier([votes], soft) == pytest.approx(0, abs=1e-12)


@settings(deadline=None)
@given(distributions(), distributions())
def test_soft_nll_is_the_mean_over_votes(probs, votes):
    expected = sum(share * nll([probs], [label]) for label, share in enumerate(votes))
    assert nll([probs], [votes]) == pytest.approx(expected, abs=1e-12)


def test_a_class_without_votes_may_have_probability_zero():
    assert nll([[0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]]) == pytest.approx(math.log(2))
    assert nll([[0.5, 0.5, 0.0]], [[0.5, 0.25, 0.25]]) == math.inf


def test_one_hot_shares_are_labels():
    shares = torch.eye(3)[LABELS]
    assert nll(PROBS, shares) == nll(PROBS, LABELS)
    assert brier(PROBS, shares) == brier(PROBS, LABELS)


def test_positions_are_examples():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, 2, generator=generator)
    y = torch.randint(3, (4, 5, 2), generator=generator)
    flat = logits.movedim(1, -1).reshape(-1, 3)
    assert nll(logits=logits, y=y) == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-6)
    for metric in (accuracy, nll, brier):
        expected = metric(logits=flat, y=y.flatten())
        assert metric(logits=logits, y=y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [accuracy, nll, brier])
def test_positions_without_a_label(metric):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, 2, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (4, 5, 2), generator=generator)
    y[0] = 255
    y[2, 1] = 255
    kept = y != 255
    rows = logits.movedim(1, -1)[kept]
    expected = pytest.approx(metric(logits=rows, y=y[kept]), abs=1e-12)
    assert metric(logits=logits, y=y, ignore_index=255) == expected
    assert metric(logits.softmax(1), y, ignore_index=255) == expected
    with pytest.raises(ValueError, match="`ignore_index` 255 everywhere"):
        metric([[0.5, 0.5]], [255], ignore_index=255)
    with pytest.raises(ValueError, match="holds the label 255"):
        metric([[0.5, 0.5]] * 2, [255, 7], ignore_index=7)


@pytest.mark.parametrize("metric", [accuracy, nll, brier])
def test_blocks_change_nothing(metric, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, 2, generator=generator)
    y = torch.randint(3, (40, 2), generator=generator)
    whole = metric(logits=logits, y=y)
    monkeypatch.setattr("duda.evaluation.rows._NUMBERS_IN_A_BLOCK", 12)
    assert metric(logits=logits, y=y) == pytest.approx(whole, rel=1e-12)
    assert metric(logits.softmax(1), y) == pytest.approx(whole, rel=1e-6)


def test_metrics_leave_their_input_as_it_was():
    probs, votes = (torch.tensor(PROBS, dtype=torch.float64) for _ in range(2))
    for metric in (nll, brier):
        metric(probs, votes)
        metric(probs, LABELS)
    assert torch.equal(probs, torch.tensor(PROBS, dtype=torch.float64))
    assert torch.equal(votes, probs)


def test_one_nan_among_logits_of_a_later_block(monkeypatch):
    monkeypatch.setattr("duda.evaluation.rows._NUMBERS_IN_A_BLOCK", 4)
    with pytest.raises(ValueError, match="`logits` has NaN"):
        nll(y=[0] * 4, logits=[[0.0, 1.0]] * 3 + [[math.nan, 0.0]])


def test_the_first_among_equals_counts():
    assert accuracy([[0.5, 0.5], [0.5, 0.5]], [0, 1]) == 0.5


@pytest.mark.parametrize("metric", [accuracy, nll, brier])
@pytest.mark.parametrize(
    ("probs", "y", "message"),
    [
        ([[math.nan, 0.5]], [0], "1 NaN"),
        (np.empty((0, 2)), [], "is empty"),
        ([0.2, 0.8], [0, 1], "stack"),
        ([[1.0], [1.0]], [0, 0], "stack"),
        ([[0.2, 0.9]], [1], "logits="),
        ([[0.2, 0.8]], [2], "holds the label 2, expected 0 to 1"),
        ([[0.2, 0.8]], [-1], "holds the label -1"),
        ([[0.2, 0.8]], [[1]], r"y.squeeze\(1\)"),
        ([[0.2, 0.8]], [1, 1], r"shape \(2,\), expected \(1,\)"),
        ([[0.2, 0.8]], [1.0], r"y.long\(\)"),
    ],
)
def test_bad_classes(metric, probs, y, message):
    with pytest.raises(ValueError, match=message):
        metric(probs, y)


@pytest.mark.parametrize("metric", [accuracy, nll, brier])
def test_missing_arguments(metric):
    with pytest.raises(TypeError, match="either `probs` or `logits=`"):
        metric(y=[0])
    with pytest.raises(TypeError, match="either `probs` or `logits=`"):
        metric([[0.5, 0.5]], [0], logits=[[0.0, 0.0]])
    with pytest.raises(TypeError, match="`y` is missing"):
        metric([[0.5, 0.5]])


def test_one_logit_is_no_classifier():
    with pytest.raises(ValueError, match="stack"):
        nll(logits=[[1.5], [-2.0]], y=[0, 0])


def test_votes_have_no_accuracy():
    with pytest.raises(ValueError, match=r"y.argmax\(1\)"):
        accuracy([[0.5, 0.5]], [[0.5, 0.5]])


def test_votes_must_sum_to_one():
    with pytest.raises(ValueError, match="`y` sums"):
        nll([[0.5, 0.5]], [[0.5, 0.1]])
    with pytest.raises(ValueError, match=r"`y` lies in .* divide votes by their sum"):
        nll([[0.5, 0.5]], [[3.0, 2.0]])
    with pytest.raises(ValueError, match=r"`y` lies in .* divide votes by their sum"):
        brier([[0.5, 0.5]], [[3, 2]])


def test_rmse_of_scikit_learn():
    mean, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.5, 2.0], [0.0, 4.5]])
    assert rmse(mean, y) == pytest.approx(math.sqrt(metrics.mean_squared_error(y, mean)))
    assert rmse(mean, mean) == 0


def test_rmse_sums_in_float64():
    mean = torch.full((10_000_000,), 1.1)
    assert rmse(mean, torch.ones(10_000_000)) == pytest.approx(float(mean[0]) - 1, rel=1e-9)


@pytest.mark.parametrize(
    ("mean", "y", "message"),
    [
        ([[1.0]], [1.0], r"y.unsqueeze\(1\)"),
        ([math.nan], [1.0], "`mean` has 1 NaN"),
        ([1.0], [math.inf], "`y` has 0 NaN and 1 infinite"),
        ([], [], "empty"),
    ],
)
def test_bad_numbers(mean, y, message):
    with pytest.raises(ValueError, match=message):
        rmse(mean, y)


def test_density_nll_of_uncertainty_toolbox():
    # uncertainty-toolbox 0.1.1; torch's GaussianNLLLoss(full=True) on the variances agrees
    assert density_nll(gaussian(), column(TARGET)) == pytest.approx(1.2514385332046727, abs=1e-12)


def test_density_nll_of_a_mixture():
    means, std = np.array([-1.0, 2.0]), np.array([0.5, 1.5])
    draws = torch.tensor([[[m, s**2]] for m, s in zip(means, std, strict=True)])
    answer = GaussianPrediction(
        column([means.mean()]), column([np.mean(std**2)]), column([means.var()]), draws
    )
    expected = -np.log(stats.norm.pdf(0.3, means, std).mean())
    assert density_nll(answer, [[0.3]]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_density_nll_has_units(scale):
    answer = GaussianPrediction(scale * column(MEAN), (scale * column(STD)).square())
    expected = density_nll(gaussian(), column(TARGET)) + math.log(scale)
    assert density_nll(answer, scale * column(TARGET)) == pytest.approx(expected, abs=1e-12)


def test_density_nll_without_spread():
    answer = GaussianPrediction([[0.0], [0.0]], [[0.0], [1.0]])
    assert density_nll(answer, [[1.0], [0.0]]) == math.inf
    with pytest.raises(ValueError, match="infinite density at 1 targets"):
        density_nll(answer, [[0.0], [0.0]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[math.nan]] * 4, "`y` has 4 NaN"),
        (TARGET, r"y.unsqueeze\(1\)"),
        (np.empty((0, 1)), "empty"),
    ],
)
def test_bad_targets(y, message):
    with pytest.raises(ValueError, match=message):
        density_nll(gaussian(), y)


def test_real_images(cifar):
    probs, labels = cifar
    assert accuracy(probs, labels) == 0.9109
    picked = probs[np.arange(len(labels)), labels].astype(np.float64)
    assert nll(probs, labels) == pytest.approx(-np.log(picked).mean(), rel=1e-12)


def test_real_reviews(imdb):
    assert accuracy(*imdb) == pytest.approx(0.8958, abs=5e-5)


def test_real_votes(real_data, cifar):
    votes = np.load(real_data / "cifar-10h" / "cifar10h-probs.npy")
    probs = cifar[0].astype(np.float64)
    expected = stats.entropy(votes, axis=1) + stats.entropy(votes, probs, axis=1)
    assert nll(cifar[0], votes) == pytest.approx(expected.mean(), rel=1e-5)
    assert brier(votes, votes) == 0
