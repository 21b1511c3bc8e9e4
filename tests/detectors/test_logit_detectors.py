import math

import numpy as np
import pytest
import torch
from scipy import special

from duda.detectors import Energy, MaxLogit, energy, max_logit


def test_energy_of_scipy():
    logits = np.random.default_rng(0).normal(size=(6, 4, 3)) * 100
    for temperature in (0.5, 1.0, 7.0):
        expected = -temperature * special.logsumexp(logits / temperature, axis=1)
        found = energy(logits, temperature=temperature)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.shape == (6, 3)
    np.testing.assert_allclose(max_logit(logits), -logits.max(1), rtol=0)


def test_cold_energy_is_the_largest_logit():
    logits = torch.tensor([[1.0, 2.0, 3.0], [-5.0, 0.0, 0.0]])
    assert energy(logits, temperature=1e-3).tolist() == pytest.approx([-3, 0], abs=1e-3)


def test_energy_sees_what_softmax_forgets():
    assert energy([[1.0, 0.0]]) > energy([[11.0, 10.0]])


def test_a_class_may_be_impossible():
    assert energy([[0.0, -math.inf]]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[0.0, math.nan]], "`logits` has NaN"),
        ([[0.0, math.inf]], "`logits` has NaN or"),
        ([[-math.inf, -math.inf]], "-infinite ones for all classes"),
        ([[1.0]], "`logits` has shape"),
        ([1.0, 2.0], "`logits` has shape"),
        (np.zeros((0, 3)), "`logits` .* is empty"),
    ],
)
def test_bad_logits(logits, message):
    for score in (energy, max_logit):
        with pytest.raises(ValueError, match=message):
            score(logits)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match="`temperature` is"):
        energy([[0.0, 1.0]], temperature=temperature)
    with pytest.raises(ValueError, match="`temperature` is"):
        Energy(temperature=temperature)


@pytest.mark.parametrize(
    ("detector", "function"),
    [
        (Energy(), energy),
        (Energy(temperature=2), lambda logits: energy(logits, temperature=2.0)),
        (MaxLogit(), max_logit),
    ],
)
def test_detectors_are_the_functions(detector, function):
    logits = np.random.default_rng(0).normal(size=(6, 4, 3))
    assert torch.equal(detector.score(logits), function(logits))
    assert torch.equal(detector.fit(logits).score(logits), function(logits))
    assert detector.fit() is detector


def test_what_is_no_logits_is_not_fitted():
    with pytest.raises(ValueError, match="`logits` has NaN"):
        Energy().fit([[0.0, math.nan]])


def test_a_temperature_of_numpy():
    assert Energy(temperature=np.float32(0.1)).temperature == 0.1
