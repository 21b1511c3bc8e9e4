import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duda.evaluation import reliability, reliability_of
from duda.evaluation.rows import LabelledRows

CONFIDENCE = [0.55, 0.62, 0.71, 0.78, 0.83, 0.88, 0.91, 0.94, 0.97, 0.99]
CORRECT = [1, 0, 1, 1, 0, 1, 1, 1, 1, 1]
PROBS = [
    [0.7, 0.2, 0.1],
    [0.1, 0.8, 0.1],
    [0.2, 0.3, 0.5],
    [0.6, 0.3, 0.1],
    [0.05, 0.05, 0.9],
    [0.34, 0.33, 0.33],
]
LABELS = [0, 1, 1, 0, 2, 2]

answers = st.lists(
    st.tuples(st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda k: k / 20)), st.booleans()),
    min_size=1,
    max_size=60,
)


def count(pairs, bins):
    confidence, correct = zip(*pairs, strict=True)
    return reliability_of(confidence, correct, bins=bins)


@pytest.mark.parametrize(
    ("confidence", "correct", "bins", "expected"),
    [
        pytest.param(CONFIDENCE, CORRECT, 10, 0.24799999999999994, id="torchmetrics 1.9.0"),
        pytest.param([0.95, 1.0], [1, 0], 10, 0.475, id="last bin closed, netcal 1.4.0"),
        pytest.param([0.0, 0.05], [1, 0], 10, 0.475, id="zero in the first bin, torchmetrics"),
        pytest.param([0.5, 0.5, 0.25, 0.75], [1, 0, 0, 1], 4, 0.125, id="on edges, torchmetrics"),
        pytest.param([1.0, 1.0, 1.0], [1, 1, 1], 10, 0.0, id="sure and right, torchmetrics"),
        pytest.param([0.7], [1], 10, 0.3, id="one example, torchmetrics"),
        pytest.param([0.05001, 0.95001], [0, 1], 20, 0.05, id="empty bins, torchmetrics"),
    ],
)
def test_ece_of_other_libraries(confidence, correct, bins, expected):
    assert reliability_of(confidence, correct, bins=bins).ece == pytest.approx(expected, abs=1e-9)


def test_sure_and_right_is_exactly_zero():
    assert reliability_of([1.0] * 3, [1] * 3).ece == 0
    assert reliability([[1.0, 0.0], [1.0, 0.0]], [0, 0], bins=10).ece == 0


def test_mce_of_netcal():
    # netcal 1.4.0
    assert reliability_of(CONFIDENCE, CORRECT, bins=10).mce == pytest.approx(0.62, abs=1e-12)


def test_curve_of_scikit_learn():
    # sklearn.calibration.calibration_curve, scikit-learn 1.9.1, which drops the empty bins
    found = reliability_of(CONFIDENCE, CORRECT, bins=10)
    filled = found.counts > 0
    assert found.accuracy[filled].tolist() == [1.0, 0.0, 1.0, 0.5, 1.0]
    expected = [0.55, 0.62, 0.745, 0.855, 0.9525]
    assert found.confidence[filled].tolist() == pytest.approx(expected, abs=1e-12)
    assert bool(found.accuracy[~filled].isnan().all())
    assert bool(found.confidence[~filled].isnan().all())
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 2, 4]


def test_reductions():
    # errors |0.5 - 0.15| and |1 - 0.75|; the bin between them is empty
    found = reliability_of([0.7, 0.8, 0.1, 0.2], [1, 1, 1, 0], bins=3)
    assert found.counts.tolist() == [2, 0, 2]
    assert found.ce("sum") == pytest.approx(0.6)
    assert found.ce("mean") == pytest.approx(0.3)
    assert found.ce("weighted") == found.ece == pytest.approx(0.3)
    uneven = reliability_of([0.75, 0.75, 0.75, 0.25], [1, 1, 1, 1], bins=2)
    assert uneven.ce("mean") == pytest.approx(0.5)
    assert uneven.ece == pytest.approx(0.375)
    with pytest.raises(ValueError, match="`reduction` is 'max'"):
        found.ce("max")


def test_top_label_of_torchmetrics_and_netcal():
    # torchmetrics 1.9.0 and netcal 1.4.0 agree: each example is alone in its bin
    assert reliability(PROBS, LABELS).ece == pytest.approx(0.30666666666666664, abs=1e-12)


def test_two_of_three_classes_present():
    # the labels 0 and 1 do not make it binary
    probs = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]
    assert reliability(probs, [0, 1, 0], bins=10).ece == pytest.approx(0.3)


def test_two_columns_mean_the_top_class():
    # torchmetrics 1.9.0 multiclass; netcal 1.4.0 silently takes the second column and says 0.5
    found = reliability([[0.85, 0.15], [0.15, 0.85]], [0, 0], bins=10)
    assert found.ece == pytest.approx(0.35)


def test_logits_are_never_guessed():
    with pytest.raises(ValueError, match="logits="):
        reliability([[-1.0, 2.0]], [1])
    with pytest.raises(ValueError, match="logits="):
        reliability([[0.2, 0.9]], [1])
    first = reliability(logits=[[0.2, 0.9]], y=[1], bins=10)
    both = reliability(logits=[[0.2, 0.9], [-1.0, 2.0]], y=[1, 1], bins=10)
    assert first.confidence_sums.sum() == pytest.approx(1 / (1 + math.exp(-0.7)))
    second = reliability(logits=[[-1.0, 2.0]], y=[1], bins=10)
    assert (first + second).ece == both.ece


@pytest.mark.parametrize(
    ("n", "expected"),
    [(50, 0.12483520871), (200, 0.06384009128), (1000, 0.02844648129), (5000, 0.01269562937)],
)
def test_bias_of_a_perfect_model(n, expected):
    # numpy 2.4.6, mean of 2,000 repeats with 15 bins; it falls with the root of n
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, (300, n))
    correct = rng.random((300, n)) < confidence
    eces = [reliability_of(c, r).ece for c, r in zip(confidence, correct, strict=True)]
    assert np.mean(eces) == pytest.approx(expected, rel=0.05)


def test_twenty_million_examples_in_one_bin():
    # a float32 counter stops at 2 ** 24, where torchmetrics 1.9.0 finds an error of 0
    n = 20_000_000
    found = reliability_of(torch.full((n,), 0.95), torch.ones(n, dtype=torch.bool))
    assert found.ece == pytest.approx(0.05, abs=1e-6)
    assert int(found.counts[-1]) == int(found.hits[-1]) == n


@pytest.mark.parametrize("bins", range(1, 41))
def test_an_edge_opens_its_bin(bins):
    edges = torch.tensor([k / bins for k in range(bins + 1)], dtype=torch.float64)
    found = reliability_of(edges, torch.ones(bins + 1), bins=bins)
    assert torch.equal(found.edges, edges)
    assert found.counts.tolist() == [1] * (bins - 1) + [2]


def test_numpy_counts_bins_too():
    assert len(reliability_of([0.5], [1], bins=np.int64(7)).counts) == 7


def test_float32_keeps_its_own_side_of_the_edge():
    # float32 puts 0.6 above 3 / 5 and 0.7 below 7 / 10
    found = reliability_of(torch.tensor([0.6, 0.7]), [1, 1], bins=10)
    assert found.counts.nonzero().flatten().tolist() == [6]


@settings(deadline=None)
@given(answers, st.integers(1, 25))
def test_brute_force(pairs, bins):
    found = count(pairs, bins)
    members = [[] for _ in range(bins)]
    for confidence, correct in pairs:
        members[max(k for k in range(bins) if confidence >= k / bins)].append((confidence, correct))
    errors = [
        abs(np.mean([r for _, r in inside]) - np.mean([c for c, _ in inside]))
        for inside in members
        if inside
    ]
    shares = [len(inside) / len(pairs) for inside in members if inside]
    assert found.counts.tolist() == [len(inside) for inside in members]
    assert found.ece == pytest.approx(np.dot(errors, shares), abs=1e-12)
    assert found.mce == pytest.approx(max(errors), abs=1e-12)
    assert found.ce("sum") == pytest.approx(sum(errors), abs=1e-12)


@settings(deadline=None)
@given(answers, st.integers(1, 25), st.randoms(use_true_random=False))
def test_order_means_nothing(pairs, bins, random):
    shuffled = random.sample(pairs, len(pairs))
    one, other = count(pairs, bins), count(shuffled, bins)
    assert torch.equal(one.counts, other.counts)
    assert torch.equal(one.hits, other.hits)
    assert one.ece == pytest.approx(other.ece, abs=1e-12)


@settings(deadline=None)
@given(answers, answers, st.integers(1, 25))
def test_parts_add_up(left, right, bins):
    parts, whole = count(left, bins) + count(right, bins), count(left + right, bins)
    assert torch.equal(parts.counts, whole.counts)
    assert torch.equal(parts.hits, whole.hits)
    assert parts.ece == pytest.approx(whole.ece, abs=1e-12)


@settings(deadline=None)
@given(answers, st.integers(1, 25))
def test_bounds(pairs, bins):
    found = count(pairs, bins)
    assert 0 <= found.ece <= found.mce + 1e-12
    assert found.mce <= min(1, found.ce("sum") + 1e-12)
    assert found.ece >= count(pairs, 1).ece - 1e-12


def test_positions_are_examples():
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(4, 3, 5, 2, generator=generator).softmax(1)
    y = torch.randint(3, (4, 5, 2), generator=generator)
    flat = reliability(probs.movedim(1, -1).reshape(-1, 3), y.flatten())
    found = reliability(probs, y)
    assert torch.equal(found.counts, flat.counts)
    assert torch.equal(found.hits, flat.hits)
    assert int(found.counts.sum()) == 40


def test_parts_over_other_bins_do_not_add_up():
    with pytest.raises(ValueError, match="2 and 3"):
        reliability_of([0.5], [1], bins=2) + reliability_of([0.5], [1], bins=3)
    top, classwise = (reliability(PROBS, LABELS, kind=kind) for kind in ("top", "class"))
    with pytest.raises(ValueError, match="15 and 3 x 15"):
        top + classwise


def test_squares_of_torchmetrics():
    # torchmetrics 1.9.0, norm="l2"
    found = reliability_of(CONFIDENCE, CORRECT, bins=10)
    assert found.rmsce == pytest.approx(0.31273391245594073, abs=1e-12)
    assert found.squared_ce == pytest.approx(found.rmsce**2, abs=1e-12)


def test_debiased_of_uncertainty_calibration():
    # uncertainty-calibration 0.1.4; below 0, as the accuracies are off by chance
    found = reliability_of(
        [0.81] * 10 + [0.61] * 10, [1] * 7 + [0] * 3 + [1] * 6 + [0] * 4, bins=10
    )
    assert found.squared_ce == pytest.approx(0.0061, abs=1e-12)
    assert found.debiased_squared_ce == pytest.approx(-0.0189, abs=1e-12)
    assert found.debiased_rmsce == 0


def test_bins_of_one_example_cannot_tell_bias():
    found = reliability_of([0.25, 0.25, 0.75], [1, 0, 0], bins=2)
    assert found.debiased_squared_ce == pytest.approx(2 / 3 * (0.25**2 - 0.25), abs=1e-12)
    assert math.isnan(reliability_of([0.25, 0.75], [1, 0], bins=2).debiased_squared_ce)
    assert math.isnan(reliability_of([0.25, 0.75], [1, 0], bins=2).debiased_rmsce)


def test_debiased_squares_are_right_on_average():
    # one confidence a bin, off by 0.05 in one half of the bins
    rng = np.random.default_rng(0)
    confidence = np.repeat([0.05, 0.35, 0.65, 0.95], 20)
    true = confidence + np.repeat([0.0, 0.05, 0.05, 0.0], 20)
    found = [reliability_of(confidence, rng.random(80) < true, bins=4) for _ in range(1500)]
    debiased = np.array([one.debiased_squared_ce for one in found])
    error = debiased.std() / math.sqrt(len(debiased))
    assert debiased.mean() == pytest.approx(0.05**2 / 2, abs=4 * error)
    assert np.mean([one.squared_ce for one in found]) > 0.05**2 / 2 + 20 * error


def test_debiased_ece_is_the_mean_of_the_resamples_of_kumar():
    # their code doubles the error and takes off its mean over accuracies drawn from normals
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 400)
    found = reliability_of(confidence, rng.random(400) < confidence**1.3, bins=10)
    filled = found.counts > 0
    accuracy, expected = found.accuracy[filled].numpy(), found.confidence[filled].numpy()
    counts = found.counts[filled].numpy()
    drawn = rng.normal(accuracy, np.sqrt(accuracy * (1 - accuracy) / counts), (40_000, len(counts)))
    eces = np.abs(drawn - expected) @ counts / counts.sum()
    assert found.debiased_ece == pytest.approx(2 * found.ece - eces.mean(), abs=5e-4)


def test_debiased_ece_of_a_perfect_model():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, (200, 200))
    found = [reliability_of(c, rng.random(200) < c) for c in confidence]
    assert np.mean([one.debiased_ece for one in found]) < 0.65 * np.mean([one.ece for one in found])
    assert reliability_of([0.25, 1.0], [1, 1], bins=2).debiased_ece == pytest.approx(0.375)


def test_the_gap_has_a_sign():
    assert reliability_of([0.9, 0.9], [1, 0]).gap == pytest.approx(0.4)
    assert reliability_of([0.1, 0.3], [1, 0]).gap == pytest.approx(-0.3)
    gaps = reliability_of([0.9, 0.1], [0, 1], bins=2).gaps
    assert gaps.tolist() == pytest.approx([-0.9, 0.9])
    assert reliability(PROBS, LABELS, kind="class").gap == pytest.approx(0, abs=1e-12)


def test_classes_of_netcal():
    # netcal 1.4.0, each class against the rest
    probs = [[0.71, 0.18, 0.11], [0.12, 0.77, 0.11], [0.23, 0.32, 0.45]]
    found = reliability(probs, [0, 1, 1], bins=10, kind="class")
    assert found.ece == pytest.approx(0.26666666666666666, abs=1e-12)
    assert found.counts.shape == (3, 10)


@pytest.mark.parametrize("binning", ["uniform", "quantile"])
def test_classes_are_each_a_claim(binning):
    generator = torch.Generator().manual_seed(0)
    probs = torch.randn(50, 4, generator=generator, dtype=torch.float64).softmax(1)
    y = torch.randint(4, (50,), generator=generator)
    found = reliability(probs, y, bins=5, kind="class", binning=binning)
    alone = [
        reliability_of(probs[:, k], y == k, bins=5, binning=binning) for k in range(probs.shape[1])
    ]
    for one, expected in zip(found.per_class, alone, strict=True):
        assert torch.equal(one.edges, expected.edges)
        assert torch.equal(one.counts, expected.counts)
        assert torch.equal(one.hits, expected.hits)
        assert one.ece == pytest.approx(expected.ece, abs=1e-12)
    for value in ("ece", "squared_ce", "debiased_squared_ce", "debiased_ece"):
        expected = np.mean([getattr(one, value) for one in alone])
        assert getattr(found, value) == pytest.approx(expected, abs=1e-12)
    assert found.mce == pytest.approx(max(one.mce for one in alone), abs=1e-12)
    for reduction in ("sum", "mean"):
        expected = np.mean([one.ce(reduction) for one in alone])
        assert found.ce(reduction) == pytest.approx(expected, abs=1e-12)
    table = found.class_table()
    assert table["class"] == [0, 1, 2, 3]
    assert table["ece"] == pytest.approx([one.ece for one in alone])
    assert table["frequency"] == pytest.approx([float((y == k).double().mean()) for k in range(4)])
    gaps = np.subtract(table["confidence"], table["frequency"]).tolist()
    assert table["gap"] == pytest.approx(gaps, abs=1e-12)
    assert found.null_band(repeats=10).eces.shape == (10,)


def test_one_claim_has_no_classes():
    with pytest.raises(ValueError, match="kind='class'"):
        reliability(PROBS, LABELS).per_class  # noqa: B018


def test_binary_is_the_second_column():
    # netcal 1.4.0 says 0.5 for these two columns, which it silently takes to be binary
    found = reliability([[0.85, 0.15], [0.15, 0.85]], [0, 0], bins=10, kind="binary")
    assert found.ece == pytest.approx(0.5)
    with pytest.raises(ValueError, match="3 classes, expected 2"):
        reliability(PROBS, LABELS, kind="binary")


def test_quantiles_of_netcal_and_scikit_learn():
    # netcal 1.4.0 and scikit-learn 1.9.1
    found = reliability_of(CONFIDENCE, CORRECT, bins=5, binning="quantile")
    assert found.ece == pytest.approx(0.158, abs=1e-12)
    assert found.counts.tolist() == [2] * 5


def test_ties_are_never_split():
    # netcal 1.4.0 raises here
    found = reliability_of([0.5] * 4, [1] * 4, bins=4, binning="quantile")
    assert found.ece == 0.5
    assert found.counts.tolist() == [0, 0, 0, 4]
    assert found.accuracy[:3].isnan().all()
    tied = reliability_of(
        [0.9] * 6 + [0.6] * 2, [1, 1, 1, 1, 0, 0, 1, 0], bins=4, binning="quantile"
    )
    assert sorted(tied.counts.tolist()) == [0, 0, 2, 6]
    assert tied.ece == pytest.approx(0.75 * abs(0.9 - 4 / 6) + 0.25 * 0.1, abs=1e-12)


@settings(deadline=None)
@example([(0.0, False), (1.0, False), (0.5, False), (1 - 2**-53, False)], 4, Random(0))
@given(answers, st.integers(1, 25), st.randoms(use_true_random=False))
def test_quantile_bins(pairs, bins, random):
    confidence, correct = zip(*pairs, strict=True)
    found = reliability_of(confidence, correct, bins=bins, binning="quantile")
    shuffled = zip(*random.sample(pairs, len(pairs)), strict=True)
    other = reliability_of(*shuffled, bins=bins, binning="quantile")
    assert torch.equal(found.edges, other.edges)
    assert torch.equal(found.counts, other.counts)
    assert int(found.counts.sum()) == len(pairs)
    assert len(found.counts) == bins
    if len(set(confidence)) == len(pairs):
        assert int(found.counts.max() - found.counts.min()) <= 1


def test_votes_are_shares_of_a_hit():
    votes = torch.tensor([[0.6, 0.3, 0.1], [0.0, 1.0, 0.0]], dtype=torch.float64)
    found = reliability([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]], votes, bins=1)
    assert found.hits.dtype == torch.float64
    assert found.hits.tolist() == [1.6]
    assert found.ece == pytest.approx(0.25)
    for kind in ("top", "class"):
        one_hot = reliability(PROBS, torch.eye(3)[LABELS], kind=kind)
        labels = reliability(PROBS, LABELS, kind=kind)
        assert torch.equal(one_hot.hits, labels.hits.double())
        assert (one_hot + labels).ece == pytest.approx(labels.ece)
    table = reliability([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]], votes, kind="class").class_table()
    assert table["frequency"] == pytest.approx([0.3, 0.65, 0.05])
    for value in ("debiased_squared_ce", "debiased_rmsce", "debiased_ece"):
        with pytest.raises(ValueError, match=r"y.argmax\(1\)"):
            getattr(found, value)
    with pytest.raises(ValueError, match=r"y.argmax\(1\)"):
        found.null_band()


def test_counts_are_whole():
    found = reliability(PROBS, LABELS)
    assert found.counts.dtype == found.hits.dtype == torch.int64
    assert found.confidence_sums.dtype == torch.float64


@pytest.mark.parametrize("kind", ["top", "class"])
def test_positions_without_a_label(kind):
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(4, 3, 5, 2, generator=generator).softmax(1)
    y = torch.randint(3, (4, 5, 2), generator=generator)
    y[1] = 255
    y[2, 0] = 255
    kept = y != 255
    found = reliability(probs, y, kind=kind, ignore_index=255)
    expected = reliability(probs.movedim(1, -1)[kept], y[kept], kind=kind)
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.hits, expected.hits)
    assert found.ece == pytest.approx(expected.ece, abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(40, 3, 2, generator=generator).softmax(1)
    y = torch.randint(3, (40, 2), generator=generator)
    whole = {kind: reliability(probs, y, kind=kind) for kind in ("top", "class")}
    monkeypatch.setattr("duda.evaluation.rows._NUMBERS_IN_A_BLOCK", 12)
    for kind, expected in whole.items():
        found = reliability(probs, y, kind=kind)
        assert torch.equal(found.counts, expected.counts)
        assert torch.equal(found.hits, expected.hits)
        assert found.ece == pytest.approx(expected.ece, abs=1e-12)


def test_no_block_of_work_is_as_large_as_the_input():
    """All but the checks of the input goes through blocks."""
    probs = torch.full((200_000, 10), 0.1)
    y = torch.zeros(200_000, dtype=torch.int64)
    sizes = [len(rows.values) for rows in LabelledRows(probs, y, None, None)]
    assert sum(sizes) == 200_000
    assert max(sizes) <= 2**18 / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "all"}, "`kind` is 'all', expected 'top' or 'class' or 'binary'"),
        ({"binning": "equal"}, "`binning` is 'equal', expected 'uniform' or 'quantile'"),
        ({"bins": 0}, "`bins` is 0"),
        ({"bins": 0, "binning": "quantile"}, "`bins` is 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        reliability(PROBS, LABELS, **options)


def test_bad_labels_to_ignore():
    with pytest.raises(ValueError, match="`ignore_index` 255 everywhere"):
        reliability([[0.5, 0.5]], [255], ignore_index=255)
    with pytest.raises(ValueError, match="holds the label 255"):
        reliability([[0.5, 0.5]] * 2, [255, -1], ignore_index=-1)
    with pytest.raises(ValueError, match="`ignore_index` -1 everywhere"):
        reliability([[0.5, 0.5]], [[0.0, 0.0]], ignore_index=-1)
    with pytest.raises(ValueError, match="zeros, where nobody voted, need an `ignore_index`"):
        reliability([[0.5, 0.5]], [[0.0, 0.0]])


def test_rows_for_which_nobody_voted_are_left_out():
    probs, votes = [[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], [[0.6, 0.4], [0.0, 0.0], [0.0, 1.0]]
    found = reliability(probs, votes, ignore_index=-1)
    assert found.ece == reliability(probs[::2], votes[::2]).ece


@pytest.mark.parametrize(
    ("confidence", "correct", "bins", "message"),
    [
        ([math.nan, 0.9], [1, 1], 10, "`confidence` has 1 NaN of 2"),
        ([], [], 10, "`confidence` .* is empty"),
        ([1.2], [1], 10, r"\[1.2, 1.2\]"),
        ([-0.1], [1], 10, r"\[-0.1, -0.1\]"),
        ([0.5, 0.5], [1], 10, r"`correct` has shape \(1,\)"),
        ([0.5], [2], 10, "`correct` holds 2"),
        ([0.5], [math.nan], 10, "`correct` holds nan"),
        ([0.5], [1], 0, "`bins` is 0"),
        ([0.5], [1], 2.5, "`bins` is 2.5"),
    ],
)
def test_bad_input(confidence, correct, bins, message):
    with pytest.raises(ValueError, match=message):
        reliability_of(confidence, correct, bins=bins)


def test_real_images(cifar):
    probs, labels = cifar
    found = reliability(probs, labels)
    assert found.ece == pytest.approx(0.0537, abs=5e-5)
    assert int(found.hits.sum()) == 9109


def test_real_images_are_over_confident(cifar):
    found = reliability(*cifar)
    assert found.gap == pytest.approx(found.ece)
    band = found.null_band()
    assert band.limit < 0.01 < found.debiased_ece < found.ece
    assert band.p_value == pytest.approx(1 / 1001)
    by_class = reliability(*cifar, kind="class")
    assert sum(by_class.class_table()["frequency"]) == pytest.approx(1)


def test_real_votes(real_data, cifar):
    votes = np.load(real_data / "cifar-10h" / "cifar10h-probs.npy")
    found = reliability(cifar[0], votes)
    predicted = cifar[0].argmax(1)
    assert float(found.hits.sum()) == pytest.approx(votes[np.arange(len(votes)), predicted].sum())


def test_real_reviews(imdb):
    probs, labels = imdb
    found = reliability(torch.from_numpy(probs), labels)
    assert found.ece == pytest.approx(0.0404, abs=5e-5)
    assert int(found.hits.sum()) / len(labels) == pytest.approx(0.8958, abs=5e-5)
