import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda.evaluation import reliability, reliability_of

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


def test_real_reviews(imdb):
    probs, labels = imdb
    found = reliability(torch.from_numpy(probs), labels)
    assert found.ece == pytest.approx(0.0404, abs=5e-5)
    assert int(found.hits.sum()) / len(labels) == pytest.approx(0.8958, abs=5e-5)
