import numpy as np
import pytest
import torch

from duda.evaluation import reliability_of


def eces_of_perfect_models(confidence, repeats, **options):
    rng = np.random.default_rng(7)
    return [
        reliability_of(confidence, rng.random(len(confidence)) < confidence, **options).ece
        for _ in range(repeats)
    ]


@pytest.mark.parametrize(("n", "expected"), [(50, 0.12483520871), (1000, 0.02844648129)])
def test_a_small_sample_shows_an_error(n, expected):
    # numpy 2.4.6, mean of 2,000 perfect models with 15 bins
    rng = np.random.default_rng(0)
    found = [
        reliability_of(rng.uniform(0.5, 1, n), np.ones(n)).null_band(repeats=100, seed=seed).mean
        for seed in range(30)
    ]
    assert np.mean(found) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "options", [{"bins": 15}, {"bins": 2}, {"bins": 5, "binning": "quantile"}], ids=str
)
def test_it_is_the_law_of_perfect_models(options):
    # in wide bins confidences differ, and hits vary less than their mean confidence tells
    confidence = np.random.default_rng(0).beta(1, 1, 300)
    drawn = np.array(eces_of_perfect_models(confidence, 1000, **options))
    band = reliability_of(confidence, np.ones(300), **options).null_band(repeats=4000)
    assert band.mean == pytest.approx(drawn.mean(), rel=0.05)
    assert band.limit == pytest.approx(np.quantile(drawn, 0.95), rel=0.08)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_is_the_law_of_other_reductions(reduction):
    # most examples are sure, as in a good classifier: bins of few dominate the mean over bins
    rng = np.random.default_rng(1)
    confidence = rng.beta(8, 0.5, 400)
    drawn = [
        reliability_of(confidence, rng.random(400) < confidence, bins=20).ce(reduction)
        for _ in range(1000)
    ]
    found = reliability_of(confidence, np.ones(400), bins=20)
    band = found.null_band(repeats=4000, reduction=reduction)
    assert band.observed == found.ce(reduction)
    assert band.mean == pytest.approx(np.mean(drawn), rel=0.05)
    assert band.limit == pytest.approx(np.quantile(drawn, 0.95), rel=0.08)
    assert band.mean > 3 * found.null_band().mean


def test_accuracies_of_a_bin_lie_in_the_band():
    confidence = np.full(40, 0.75)
    band = reliability_of(confidence, np.ones(40), bins=2).null_band(level=0.9, repeats=20_000)
    binomial = torch.tensor([25, 34]) / 40  # scipy.stats.binom.interval(0.9, 40, 0.75)
    assert [float(band.lower[1]), float(band.upper[1])] == pytest.approx(binomial.tolist())
    assert band.lower[0].isnan()
    assert band.upper[0].isnan()


def test_p_values_of_perfect_models_are_even():
    rng = np.random.default_rng(3)
    values = []
    for seed in range(200):
        confidence = rng.uniform(0.5, 1, 200)
        found = reliability_of(confidence, rng.random(200) < confidence)
        values.append(found.null_band(repeats=99, seed=seed).p_value)
    assert min(values) >= 0.01
    assert np.mean(values) == pytest.approx(0.5, abs=0.09)
    assert np.mean(np.array(values) <= 0.1) == pytest.approx(0.1, abs=0.07)


def test_an_error_that_chance_cannot_explain():
    band = reliability_of([0.9] * 200, [1, 0] * 100).null_band()
    assert band.observed == pytest.approx(0.4)
    assert band.limit < 0.06
    assert band.p_value == pytest.approx(1 / 1001)


def test_the_smallest_possible_error_is_no_evidence():
    # 7 of 10 right is what a confidence of 0.7 promises, whichever way sums are rounded
    assert reliability_of([0.7] * 10, [1] * 7 + [0] * 3).null_band().p_value == 1
    found = reliability_of([0.7] * 3, [1, 1, 0])
    assert found.null_band().p_value == 1


def test_sure_models_have_no_chance():
    band = reliability_of([1.0, 0.0], [1, 0]).null_band(repeats=10)
    assert band.eces.tolist() == [0.0] * 10
    assert band.p_value == 1


def test_a_seed_is_a_band_and_the_global_generator_stays():
    found = reliability_of([0.6, 0.7, 0.8], [1, 0, 1])
    before = torch.get_rng_state()
    assert torch.equal(found.null_band(seed=1).eces, found.null_band(seed=1).eces)
    assert not torch.equal(found.null_band(seed=1).eces, found.null_band(seed=2).eces)
    assert torch.equal(torch.get_rng_state(), before)


def test_float16_may_round_above_one():
    found = reliability_of(torch.tensor([1.0005, 1.0005]), [1, 1])
    assert found.null_band(repeats=5).eces.tolist() == pytest.approx([0.0] * 5, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0}, "`level` is 0"),
        ({"level": 1.0}, "`level` is 1.0"),
        ({"repeats": 0}, "`repeats` is 0"),
        ({"reduction": "max"}, "`reduction` is 'max'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        reliability_of([0.5], [1]).null_band(**options)
