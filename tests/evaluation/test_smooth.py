import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import norm

from duda.evaluation import smooth_ece, smooth_ece_of
from tests.evaluation.test_calibration import CONFIDENCE, CORRECT

claims = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12)


def by_integration(confidence, correct, bandwidth):
    """Return the error by summing over mirror images, on a fine grid."""
    t = np.linspace(0, 1, 20_001)
    smoothed = np.zeros_like(t)
    for c, right in zip(confidence, correct, strict=True):
        for k in range(-6, 7):
            images = norm.pdf(t, 2 * k + c, bandwidth) + norm.pdf(t, 2 * k - c, bandwidth)
            smoothed += (right - c) * images
    return trapezoid(np.abs(smoothed), t) / len(confidence)


def test_relplot():
    # relplot 1.0.3, on a coarser grid
    assert smooth_ece_of(CONFIDENCE, CORRECT) == pytest.approx(0.06359631843044279, abs=2e-3)
    found = smooth_ece_of(CONFIDENCE, CORRECT, bandwidth=0.1)
    assert found == pytest.approx(0.0381139110966792, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(claims, st.sampled_from([0.01, 0.05, 0.3, 1.0]))
def test_integration(pairs, bandwidth):
    confidence, correct = zip(*pairs, strict=True)
    found = smooth_ece_of(confidence, correct, bandwidth=bandwidth)
    bound = 0.13 * (2**-14 / bandwidth) ** 2
    assert found == pytest.approx(by_integration(confidence, correct, bandwidth), abs=bound + 1e-5)


@settings(deadline=None, max_examples=30)
@given(claims)
def test_the_bandwidth_is_the_error(pairs):
    confidence, correct = zip(*pairs, strict=True)
    found = smooth_ece_of(confidence, correct)
    if found > 1e-3:
        again = smooth_ece_of(confidence, correct, bandwidth=found)
        assert again == pytest.approx(found, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(claims, st.randoms(use_true_random=False))
def test_bounds_and_order(pairs, random):
    confidence, correct = zip(*pairs, strict=True)
    found = smooth_ece_of(confidence, correct)
    bias = abs(np.mean(correct) - np.mean(confidence))
    assert bias - 1e-9 <= found <= np.abs(np.subtract(correct, confidence)).mean() + 1e-9
    shuffled = zip(*random.sample(pairs, len(pairs)), strict=True)
    assert smooth_ece_of(*shuffled) == pytest.approx(found, abs=1e-9)


def test_it_does_not_jump_at_an_edge():
    below, above = ([0.5 - gap, 0.5 + gap] * 10 for gap in (1e-9, -1e-9))
    right = [0, 1] * 10
    assert smooth_ece_of(below, right) == pytest.approx(smooth_ece_of(above, right), abs=1e-7)


def test_sure_and_right_is_exactly_zero():
    assert smooth_ece_of([1.0, 1.0, 0.0], [1, 1, 0]) == 0
    assert smooth_ece([[1.0, 0.0]], [0]) == 0


def test_claims_of_probabilities():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 2, 5, generator=generator, dtype=torch.float64)
    probs, y = logits.softmax(1), torch.randint(2, (4, 5), generator=generator)
    confidence, first = probs.max(1)
    top = smooth_ece_of(confidence, first == y)
    assert smooth_ece(probs, y) == pytest.approx(top, abs=1e-9)
    assert smooth_ece(logits=logits, y=y) == pytest.approx(top, abs=1e-9)
    positive = smooth_ece_of(probs[:, 1], y)
    assert smooth_ece(probs, y, kind="binary") == pytest.approx(positive, abs=1e-9)
    votes = torch.nn.functional.one_hot(y, 2).movedim(-1, 1).double()
    assert smooth_ece(probs, votes) == pytest.approx(top, abs=1e-9)
    y[0] = -1
    kept = smooth_ece_of(confidence[1:], (first == y)[1:])
    assert smooth_ece(probs, y, ignore_index=-1) == pytest.approx(kept, abs=1e-9)


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([float("nan")], [1], "1 NaN"),
        ([], [], "is empty"),
        ([1.2], [1], "`confidence` lies in"),
        ([0.5], [2], "`correct` holds 2"),
    ],
)
def test_bad_input(confidence, correct, message):
    with pytest.raises(ValueError, match=message):
        smooth_ece_of(confidence, correct)


def test_bad_options():
    for bandwidth in (0, 1e-5, float("nan")):
        with pytest.raises(ValueError, match=r"expected at least 0\.00012"):
            smooth_ece_of([0.5], [1], bandwidth=bandwidth)
    with pytest.raises(ValueError, match="`kind` is 'class', expected 'top' or 'binary'"):
        smooth_ece([[0.5, 0.5]], [1], kind="class")
    with pytest.raises(ValueError, match="3 classes, expected 2"):
        smooth_ece([[0.5, 0.3, 0.2]], [1], kind="binary")


def test_real_images(cifar):
    # near the ECE of 0.0537, over-confident everywhere
    assert smooth_ece(*cifar) == pytest.approx(0.0530, abs=2e-3)
