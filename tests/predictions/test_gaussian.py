"""Quantiles, intervals and densities against scipy, of one Gaussian and of kept draws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import Tensor

from duda import Gaussian, GaussianPrediction

MEAN = torch.tensor([[0.0, 1.0], [2.0, -3.0], [1000.0, 1e-3]], dtype=torch.float64)
ALEATORIC = torch.tensor([[1.0, 0.25], [4.0, 1e-4], [0.5, 1e-8]], dtype=torch.float64)
EPISTEMIC = torch.tensor([[0.5, 0.0], [0.01, 9.0], [0.0, 1e-8]], dtype=torch.float64)
STD = (ALEATORIC + EPISTEMIC).sqrt()
LEVELS = [1e-6, 0.025, 0.3, 0.5, 0.9, 0.999]


@pytest.fixture
def answer() -> GaussianPrediction:
    return GaussianPrediction(MEAN, ALEATORIC, EPISTEMIC)


@pytest.fixture
def mixture() -> GaussianPrediction:
    outputs = torch.randn(4, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return Gaussian().reduce(4 * outputs, keep_draws=True)


def component(mixture: GaussianPrediction, n: int, d: int) -> scipy.stats.rv_continuous:
    """Return the frozen scipy distributions of one output's draws."""
    outputs = mixture.mean.shape[1]
    draws = mixture.draws[:, n].numpy()
    return scipy.stats.norm(draws[:, d], np.sqrt(draws[:, outputs + d]))


def test_variances_add_up(answer: GaussianPrediction) -> None:
    torch.testing.assert_close(answer.variance, answer.aleatoric + answer.epistemic)
    torch.testing.assert_close(answer.std**2, answer.variance)
    assert torch.equal(answer.score, answer.std)
    assert not GaussianPrediction(MEAN, ALEATORIC).epistemic.any()


@pytest.mark.parametrize("q", LEVELS)
def test_quantiles_are_those_of_scipy(answer: GaussianPrediction, q: float) -> None:
    expected = scipy.stats.norm.ppf(q, MEAN, STD)
    np.testing.assert_allclose(answer.quantile(q), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shift", [-40.0, -3.0, -0.1, 0.0, 2.0, 8.0])
def test_cdf_and_density_are_those_of_scipy(answer: GaussianPrediction, shift: float) -> None:
    y = MEAN + shift * STD
    expected = scipy.stats.norm.cdf(y, MEAN, STD)
    np.testing.assert_allclose(answer.cdf(y), expected, rtol=1e-6, atol=1e-15)
    expected = scipy.stats.norm.logpdf(y, MEAN, STD)
    np.testing.assert_allclose(answer.log_prob(y), expected, rtol=1e-7, atol=1e-6)


def test_golden_interval_width() -> None:
    # scipy 1.17.1: the mean width of the central 90 % intervals, which hold all targets.
    std = torch.tensor([[1.0], [0.5], [2.0], [1.0]], dtype=torch.float64)
    answer = GaussianPrediction([[0.0], [1.0], [2.0], [3.0]], std**2)
    lower, upper = answer.interval(0.9)
    y = torch.tensor([[0.5], [1.2], [-1.0], [3.0]])
    assert float((upper - lower).mean()) == pytest.approx(3.7009206606408127, abs=1e-9)
    assert ((lower <= y) & (y <= upper)).all()


def test_golden_density() -> None:
    # uncertainty-toolbox 0.1.1: the mean negative log-density.
    std = torch.tensor([[1.0], [0.5], [2.0], [1.0]], dtype=torch.float64)
    answer = GaussianPrediction([[0.0], [1.0], [2.0], [3.0]], std**2)
    nll = -answer.log_prob([[0.5], [1.2], [-1.0], [3.0]]).mean()
    assert float(nll) == pytest.approx(1.2514385332046727, abs=1e-6)


@pytest.mark.parametrize("q", LEVELS)
def test_mixture_quantiles_invert_the_mixture_cdf(mixture: GaussianPrediction, q: float) -> None:
    found = mixture.quantile(q)
    for n in range(3):
        for d in range(2):
            parts = component(mixture, n, d)
            expected = brentq(lambda y, parts=parts: parts.cdf(y).mean() - q, -200, 200, xtol=1e-12)
            assert float(found[n, d]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_mixture_cdf_and_density_are_those_of_its_components(mixture: GaussianPrediction) -> None:
    for shift in (-5.0, -0.5, 0.0, 1.0, 20.0):
        y = mixture.mean + shift
        cdf, density = mixture.cdf(y), mixture.log_prob(y).exp()
        for n in range(3):
            for d in range(2):
                parts = component(mixture, n, d)
                assert float(cdf[n, d]) == pytest.approx(parts.cdf(y[n, d]).mean(), rel=1e-9)
                assert float(density[n, d]) == pytest.approx(parts.pdf(y[n, d]).mean(), rel=1e-9)


@given(st.floats(0.001, 0.999), st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_quantile_and_cdf_undo_each_other(q: float, seed: int, keep_draws: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(5, 4, 2, generator=generator, dtype=torch.float64)
    answer = Gaussian().reduce(outputs, keep_draws=keep_draws)
    np.testing.assert_allclose(answer.cdf(answer.quantile(q)), q, rtol=1e-7)


@given(st.floats(0.01, 0.99), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40, deadline=None)
def test_intervals_hold_their_level(level: float, seed: int, keep_draws: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    answer = Gaussian().reduce(outputs, keep_draws=keep_draws)
    lower, upper = answer.interval(level)
    held = answer.cdf(upper) - answer.cdf(lower)
    np.testing.assert_allclose(held, level, rtol=1e-6)
    np.testing.assert_allclose(answer.cdf(lower), (1 - level) / 2, rtol=1e-6)


def test_one_kept_draw_is_its_gaussian() -> None:
    outputs = torch.randn(1, 4, 6, dtype=torch.float64)
    kept, plain = Gaussian().reduce(outputs, keep_draws=True), Gaussian().reduce(outputs)
    y = torch.randn(4, 3, dtype=torch.float64)
    for verb, value in (("cdf", y), ("log_prob", y), ("quantile", 0.2)):
        torch.testing.assert_close(getattr(kept, verb)(value), getattr(plain, verb)(value))


def test_without_noise_the_target_is_known() -> None:
    answer = GaussianPrediction([[2.0]], [[0.0]])
    assert answer.quantile(0.01).item() == 2
    assert answer.interval(0.9)[1].item() == 2
    assert [answer.cdf([[y]]).item() for y in (1.9, 2.0, 2.1)] == [0, 1, 1]
    assert [answer.log_prob([[y]]).item() for y in (1.9, 2.0)] == [-np.inf, np.inf]


def test_a_mixture_of_points_has_their_quantiles() -> None:
    draws = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    draws = torch.stack([draws, torch.zeros(4, dtype=torch.float64)], dim=1)[:, None]
    answer = GaussianPrediction([[2.5]], [[0.0]], [[1.25]], draws)
    found = [answer.quantile(q).item() for q in (0.1, 0.25, 0.26, 0.5, 0.9)]
    np.testing.assert_allclose(found, [1, 1, 2, 2, 4], rtol=1e-12)


def test_infinite_targets_have_limits(answer: GaussianPrediction) -> None:
    far = torch.full_like(MEAN, torch.inf)
    assert (answer.cdf(far) == 1).all()
    assert (answer.cdf(-far) == 0).all()
    assert (answer.log_prob(far) == -torch.inf).all()


@pytest.mark.parametrize("keep_draws", [False, True])
def test_positions_keep_their_places(keep_draws: bool) -> None:
    outputs = torch.randn(3, 2, 4, 5, 6)
    answer = Gaussian().reduce(outputs, keep_draws=keep_draws)
    y = torch.randn(2, 2, 5, 6)
    alone = Gaussian().reduce(outputs[..., 4, 2], keep_draws=keep_draws)
    for verb, whole, part in (
        ("cdf", y, y[..., 4, 2]),
        ("log_prob", y, y[..., 4, 2]),
        ("quantile", 0.3, 0.3),
    ):
        found = getattr(answer, verb)(whole)
        assert found.shape == y.shape
        torch.testing.assert_close(found[..., 4, 2], getattr(alone, verb)(part))


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (torch.int64, torch.float64),  # integers of more than seven digits have no place in float32
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_whole_and_short_numbers_are_widened(dtype: torch.dtype, wide: torch.dtype) -> None:
    answer = GaussianPrediction(torch.zeros(1, 1, dtype=dtype), torch.ones(1, 1, dtype=dtype))
    assert answer.std.dtype == wide
    assert float(answer.cdf([[0.5]])) == pytest.approx(0.6914624612740131, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((MEAN[0], ALEATORIC[0]), r"`mean` has shape \(2,\).*call `mean.unsqueeze\(1\)`"),
        ((MEAN, ALEATORIC[:2]), r"`aleatoric` has shape \(2, 2\), expected \(3, 2\)"),
        ((MEAN, ALEATORIC, EPISTEMIC[:, :1]), r"`epistemic` has shape \(3, 1\)"),
        ((MEAN, -ALEATORIC), "`aleatoric` has a variance of -4, expected at least 0"),
        ((MEAN, ALEATORIC, -EPISTEMIC), "`epistemic` has a variance of -9"),
        ((MEAN * torch.nan, ALEATORIC), "`mean` has 6 NaN"),
        ((MEAN, ALEATORIC * torch.inf), "`aleatoric` has 0 NaN and 6 infinite"),
        ((MEAN, ALEATORIC, EPISTEMIC, MEAN), "`draws` has shape"),
        ((MEAN, ALEATORIC, EPISTEMIC, torch.zeros(0, 3, 4)), "at least one draw"),
        ((MEAN, ALEATORIC, EPISTEMIC, -torch.ones(1, 3, 4)), "`draws` has a variance of -1"),
        ((MEAN, ALEATORIC, EPISTEMIC, torch.full((1, 3, 4), torch.nan)), "`draws` has 12 NaN"),
    ],
)
def test_what_is_no_gaussian_is_told(given: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianPrediction(*given)


@pytest.mark.parametrize("wrong", [0, 1, -0.1, 1.2, float("nan")])
def test_levels_are_probabilities(answer: GaussianPrediction, wrong: float) -> None:
    with pytest.raises(ValueError, match="`q` is"):
        answer.quantile(wrong)
    with pytest.raises(ValueError, match="`level` is"):
        answer.interval(wrong)


def test_targets_of_the_wrong_shape_are_told(answer: GaussianPrediction) -> None:
    one = GaussianPrediction(MEAN[:, :1], ALEATORIC[:, :1])
    for verb in ("cdf", "log_prob"):
        with pytest.raises(ValueError, match=r"call `y.unsqueeze\(1\)`"):
            getattr(one, verb)(torch.zeros(3))
        with pytest.raises(ValueError, match=r"expected \(3, 2\)"):
            getattr(answer, verb)(torch.zeros(3, 1))
        with pytest.raises(ValueError, match="`y` has 6 NaN"):
            getattr(answer, verb)(MEAN * torch.nan)


@pytest.mark.parametrize("kept", [False, True])
def test_rescaled_is_the_prediction_in_other_units(kept: bool) -> None:
    outputs = torch.randn(3, 4, 2, dtype=torch.float64)
    answer = Gaussian().reduce(outputs, keep_draws=kept)
    y = torch.randn(4, 1, dtype=torch.float64)
    found = answer.rescaled(factor=2.0, offset=-3.0)
    torch.testing.assert_close(found.mean, 2 * answer.mean - 3)
    torch.testing.assert_close(found.std, 2 * answer.std)
    torch.testing.assert_close(found.cdf(2 * y - 3), answer.cdf(y))
    torch.testing.assert_close(found.log_prob(2 * y - 3), answer.log_prob(y) - np.log(2))
    torch.testing.assert_close(found.quantile(0.1), 2 * answer.quantile(0.1) - 3)
    torch.testing.assert_close(found.aleatoric + found.epistemic, found.std**2)


@pytest.mark.parametrize(
    ("factor", "offset"), [(0.0, 1.0), (-1.0, 0.0), (np.inf, 0.0), (1, np.nan)]
)
def test_units_that_turn_or_lose_the_order_are_refused(
    answer: GaussianPrediction, factor: float, offset: float
) -> None:
    with pytest.raises(ValueError, match="`factor` is"):
        answer.rescaled(factor=factor, offset=offset)
