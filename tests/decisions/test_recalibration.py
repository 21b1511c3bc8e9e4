"""What all recalibrations of classes have in common."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda import Categorical, ClassPrediction, Deterministic, ScoredClassPrediction
from duda.decisions import (
    BetaCalibration,
    HistogramBinning,
    Isotonic,
    MatrixScaling,
    StdScale,
    Temperature,
    VectorScaling,
)
from duda.predictions.classes import entropy

KINDS = [
    BetaCalibration,
    HistogramBinning,
    Isotonic,
    MatrixScaling,
    Temperature,
    VectorScaling,
]
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def overconfident(n=400, classes=3, seed=0):
    """Labels drawn from softmax(z), and logits 3 z + 0.5 k that claim to know more."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, classes))
    probs = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = (rng.uniform(size=(n, 1)) > probs.cumsum(1)).sum(1)
    return 3 * z + 0.5 * np.arange(classes), y


def nll(probs, y):
    return -float(torch.as_tensor(probs).double().log()[torch.arange(len(y)), y].mean())


def ensemble(n=40, classes=3):
    draws = torch.randn(5, n, classes)
    return Categorical().reduce(draws), draws


@every
@pytest.mark.parametrize("classes", [2, 4])
def test_gives_distributions(kind, classes):
    logits, y = overconfident(classes=classes)
    found = kind().fit(logits=logits, y=y)(logits=overconfident(50, classes, seed=1)[0])
    assert found.shape == (50, classes)
    assert found.dtype == torch.float64
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(50).double())


@every
def test_helps_a_model_that_is_too_sure(kind):
    logits, y = overconfident(2000)
    held_out, truth = overconfident(2000, seed=1)
    fitted = kind().fit(logits=logits, y=y)
    raw = torch.tensor(held_out).softmax(1)
    assert ece(fitted(logits=held_out), truth) < 0.5 * ece(raw, truth)


@every
def test_order_of_examples_means_nothing(kind):
    logits, y = overconfident()
    order = np.random.default_rng(0).permutation(len(y))
    one = kind().fit(logits=logits, y=y)
    other = kind().fit(logits=logits[order], y=y[order])
    torch.testing.assert_close(one(logits=logits), other(logits=logits), atol=1e-5, rtol=0)


@every
def test_positions_are_examples(kind):
    logits, y = overconfident(400)
    flat = kind().fit(logits=logits, y=y)
    images = torch.tensor(logits).view(4, 10, 10, 3).movedim(-1, 1)
    whole = kind().fit(logits=images, y=y.reshape(4, 10, 10))
    found = whole(logits=images)
    assert found.shape == (4, 3, 10, 10)
    expected = flat(logits=logits)
    torch.testing.assert_close(found.movedim(1, -1).reshape(-1, 3), expected, atol=1e-6, rtol=0)


@every
def test_probs_and_predictions_and_logits_agree(kind):
    logits, y = overconfident()
    probs = torch.tensor(logits).softmax(1)
    answer = ClassPrediction.from_probs(probs)
    by_logits = kind().fit(logits=logits, y=y)(logits=logits)
    by_probs = kind().fit(probs, y)(probs)
    by_answer = kind().fit(answer, y)(answer)
    torch.testing.assert_close(by_probs, by_logits, atol=1e-6, rtol=0)
    torch.testing.assert_close(by_answer.probs, by_logits, atol=1e-6, rtol=0)


@every
def test_a_prediction_keeps_its_epistemic_share(kind):
    answer, _ = ensemble(200)
    y = torch.distributions.Categorical(logits=answer.log_probs).sample()
    found = kind().fit(answer, y)(answer)
    assert isinstance(found, ClassPrediction)
    assert found.log_probs.dtype == answer.log_probs.dtype
    torch.testing.assert_close(found.entropy, found.aleatoric + found.epistemic)
    torch.testing.assert_close(
        found.epistemic, found.entropy * answer.epistemic / answer.entropy, atol=1e-5, rtol=1e-4
    )
    assert torch.equal(found.votes, answer.votes)


@every
def test_draws_are_left_out(kind):
    answer = Categorical().reduce(torch.randn(4, 60, 2), keep_draws=True)
    y = torch.distributions.Categorical(logits=answer.log_probs).sample()
    assert answer.draws is not None
    assert kind().fit(answer, y)(answer).draws is None


def test_a_score_of_its_own_stays():
    answer, _ = ensemble()
    y = answer.labels.roll(1)
    scored = ScoredClassPrediction.from_prediction(answer, torch.arange(40.0))
    found = Temperature().fit(answer, y)(scored)
    assert torch.equal(found.score, scored.score)
    assert not torch.equal(found.log_probs, scored.log_probs)


def test_a_sure_prediction_stays_sure():
    scaling = Temperature().fit([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], [0, 1, 0])
    found = scaling(ClassPrediction.from_probs([[1.0, 0.0]]))
    assert found.probs.tolist() == [[1.0, 0.0]]
    assert found.entropy.tolist() == found.epistemic.tolist() == [0.0]
    assert entropy(found.log_probs, 1).tolist() == found.aleatoric.tolist()


@every
def test_wrapped_model(kind):
    x = torch.randn(100, 4)
    model = Deterministic(torch.nn.Linear(4, 3), Categorical())
    y = torch.distributions.Categorical(logits=model.predict(x).log_probs).sample()
    fitted = kind().fit(model.predict(x), y)
    found = fitted.wrap(model).predict(x, batch_size=7)
    assert torch.equal(found.log_probs, fitted(model.predict(x, batch_size=7)).log_probs)


@every
@pytest.mark.parametrize(
    ("probs", "y", "message"),
    [
        ([[math.nan, 1.0]], [0], "`probs` has 1 NaN"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "`probs` .* is empty"),
        ([[2.0, 1.0]], [0], r"`probs` lies in \[1, 2\]"),
        ([[0.5, 0.4]], [0], "expected 1: pass raw outputs as `logits=`"),
        ([[0.5, 0.5]], [2], "`y` holds the label 2, expected 0 to 1"),
        ([[0.5, 0.5]], [0, 1], r"`y` has shape \(2,\), expected \(1,\)"),
        ([[0.5, 0.5]], [0.0], "`y` has dtype"),
        ([0.5, 0.5], [0, 1], "expected"),
    ],
)
def test_bad_input(kind, probs, y, message):
    with pytest.raises(ValueError, match=message):
        kind().fit(probs, y)


@every
def test_other_width(kind):
    logits, y = overconfident()
    fitted = kind().fit(logits=logits, y=y)
    with pytest.raises(ValueError, match="have 2 classes, expected 3, as `fit` saw"):
        fitted([[0.5, 0.5]])


@every
def test_not_fitted(kind, tmp_path):
    with pytest.raises(ValueError, match=f"this {kind.__name__} is not fitted: call its `fit`"):
        kind()([[0.5, 0.5]])
    with pytest.raises(ValueError, match="is not fitted"):
        kind().save(tmp_path / "file")
    with pytest.raises(ValueError, match="is not fitted"):
        kind().wrap(Deterministic(torch.nn.Linear(4, 3), Categorical()))


@every
def test_probs_beside_logits(kind):
    logits, y = overconfident()
    with pytest.raises(TypeError, match="either `probs` or `logits=`"):
        kind().fit(ClassPrediction.from_probs([[0.5, 0.5]]), y, logits=logits)
    with pytest.raises(TypeError, match="either `probs` or `logits=`"):
        kind().fit(y=y)
    with pytest.raises(TypeError, match="`y` is missing"):
        kind().fit([[0.5, 0.5]])


def test_wrapping_what_does_not_predict():
    scaling = StdScale().fit([0.0], [1.0], std=[1.0])
    with pytest.raises(TypeError, match=r"`model` is a Linear, expected something with `predict"):
        scaling.wrap(torch.nn.Linear(2, 2))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_all_held_out_examples_tied(seed, classes):
    y = np.random.default_rng(seed).integers(classes, size=30)
    y[:classes] = np.arange(classes)
    shares = np.bincount(y, minlength=classes) / len(y)
    probs = np.full((30, classes), 1 / classes)
    for fitted in (Isotonic(), HistogramBinning()):
        np.testing.assert_allclose(fitted.fit(probs, y)(probs[:1])[0], shares, atol=1e-12)


@pytest.fixture(scope="module")
def cifar():
    """A wide ResNet's probabilities for the test batch, and the batch's own labels."""
    folder = os.environ.get("DUDA_DATA")
    if not folder:
        pytest.skip("DUDA_DATA is not set: it names the folder of real data sets.")
    probs = np.load(Path(folder) / "predictions" / "wideresnet-16-4_cifar-10.npz")["probs"]
    rows = np.fromfile(Path(folder) / "cifar-10-batches-bin" / "test_batch.bin", dtype=np.uint8)
    order = np.random.default_rng(0).permutation(10_000)
    return probs[order], rows.reshape(10_000, -1)[order, 0].astype(int)


def ece(probs, y, bins=15):
    confidence, labels = (part.numpy() for part in torch.as_tensor(probs).max(1))
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    surplus = np.bincount(index, confidence - (labels == y), minlength=bins)
    return np.abs(surplus).sum() / len(y)


@pytest.mark.parametrize("kind", [BetaCalibration, Isotonic, Temperature, VectorScaling])
def test_real_images(cifar, kind):
    probs, y = cifar
    fitted = kind().fit(probs[:5000], y[:5000])
    found = fitted(probs[5000:])
    assert ece(probs[5000:], y[5000:]) > 0.045
    assert ece(found, y[5000:]) < 0.02
    if kind is not Isotonic:  # whose zeros may meet a label
        assert nll(found, y[5000:]) < nll(probs[5000:], y[5000:])
