import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda.evaluation import brier, brier_parts


def distributions(n, classes, seed):
    return np.random.default_rng(seed).dirichlet([0.7] * classes, n)


cases = st.tuples(st.integers(1, 60), st.integers(2, 4), st.integers(0, 999), st.integers(1, 20))


@settings(deadline=None)
@given(cases, st.booleans())
def test_parts_add_up_to_the_score(case, votes):
    n, classes, seed, bins = case
    probs = distributions(n, classes, seed)
    y = distributions(n, classes, seed + 1)
    y = y if votes else y.argmax(1)
    parts = brier_parts(probs, y, bins=bins)
    assert parts.score == pytest.approx(brier(probs, y), abs=1e-12)
    pieces = parts.reliability - parts.resolution + parts.uncertainty
    pieces += parts.within_variance - parts.within_covariance
    assert pieces == pytest.approx(parts.score, abs=1e-12)
    for part in (parts.reliability, parts.resolution, parts.within_variance):
        assert part >= 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=50))
def test_alike_forecasts_in_a_bin_leave_nothing_within(pairs):
    # then the parts are those of Murphy 1973, over distinct forecasts
    forecast, y = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    positive = (forecast + 0.5) / 5
    parts = brier_parts(np.stack([1 - positive, positive], axis=1), y.astype(int), bins=5)
    assert parts.within_variance == pytest.approx(0, abs=1e-12)
    assert parts.within_covariance == pytest.approx(0, abs=1e-12)
    groups = [(positive[forecast == k], y[forecast == k]) for k in set(forecast)]
    reliability = sum(len(f) * (f[0] - o.mean()) ** 2 for f, o in groups) / len(y)
    resolution = sum(len(o) * (o.mean() - y.mean()) ** 2 for _, o in groups) / len(y)
    assert parts.reliability == pytest.approx(2 * reliability, abs=1e-12)
    assert parts.resolution == pytest.approx(2 * resolution, abs=1e-12)
    assert parts.uncertainty == pytest.approx(2 * y.mean() * (1 - y.mean()), abs=1e-12)


def test_a_constant_forecast_resolves_nothing():
    parts = brier_parts([[0.7, 0.3]] * 4, [0, 1, 0, 1])
    assert parts.resolution == 0
    assert parts.generalized_resolution == pytest.approx(0, abs=1e-15)
    assert parts.refinement == pytest.approx(parts.uncertainty) == 0.5
    assert parts.reliability == pytest.approx(2 * 0.2**2)


def test_positions_without_a_label():
    probs = torch.from_numpy(distributions(24, 3, 0)).view(4, 6, 3)
    y = torch.from_numpy(distributions(24, 3, 1)).view(4, 6, 3).argmax(2)
    y[0, :4] = 255
    kept = y != 255
    found = brier_parts(probs.movedim(2, 1), y, ignore_index=255)
    expected = brier_parts(probs[kept], y[kept])
    assert vars(found) == pytest.approx(vars(expected), abs=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="`bins` is 0"):
        brier_parts([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(ValueError, match="1 NaN"):
        brier_parts([[float("nan"), 0.5]], [0])


def test_real_images(cifar):
    parts = brier_parts(*cifar)
    assert parts.score == pytest.approx(brier(*cifar), abs=1e-12)
    assert parts.uncertainty == pytest.approx(0.9, abs=1e-12)  # ten classes, equally frequent
