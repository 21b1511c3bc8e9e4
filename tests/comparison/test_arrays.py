"""Files of other programs become predictions, or say what they lack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from duda import (
    ClassPrediction,
    GaussianPrediction,
    NegativeBinomialPrediction,
    PoissonPrediction,
    QuantilePrediction,
)
from duda.comparison.arrays import read_arrays, read_prediction

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(6, 3)).astype(np.float32)
PROBS = torch.from_numpy(LOGITS).softmax(1).numpy()
LABELS = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
MEAN, STD, Y = RANDOM.normal(size=6), RANDOM.uniform(1, 2, size=6), RANDOM.normal(size=6)
QUANTILES, LEVELS = np.sort(RANDOM.normal(size=(6, 3)), axis=1), np.array([0.1, 0.5, 0.9])


@pytest.fixture
def stored(tmp_path):
    def store(**arrays: Any):
        np.savez(tmp_path / "predictions.npz", **arrays)
        return tmp_path / "predictions.npz"

    return store


@pytest.mark.parametrize("arrays", [{"probs": PROBS}, {"logits": LOGITS}])
@pytest.mark.parametrize("name", ["labels", "y"])
def test_probabilities_and_logits_say_the_same(stored, arrays, name) -> None:
    prediction, y, _ = read_arrays(stored(**arrays, **{name: LABELS}, notes=np.arange(3)))
    assert isinstance(prediction, ClassPrediction)
    np.testing.assert_allclose(prediction.probs, PROBS, atol=1e-6)
    assert torch.equal(y, torch.from_numpy(LABELS).long())


@pytest.mark.parametrize("columns", [False, True])
def test_mean_and_std(stored, columns) -> None:
    shape = (6, 1) if columns else (6,)
    path = stored(mean=MEAN.reshape(shape), std=STD.reshape(shape), y=Y.reshape(shape))
    prediction, y, _ = read_arrays(path)
    assert isinstance(prediction, GaussianPrediction)
    np.testing.assert_allclose(prediction.mean[:, 0], MEAN)
    np.testing.assert_allclose(prediction.std[:, 0], STD)
    np.testing.assert_allclose(y[:, 0], Y)


@pytest.mark.parametrize("columns", [False, True])
def test_quantiles(stored, columns) -> None:
    shape = (6, 3, 1) if columns else (6, 3)
    prediction, y, _ = read_arrays(stored(quantiles=QUANTILES.reshape(shape), levels=LEVELS, y=Y))
    assert isinstance(prediction, QuantilePrediction)
    np.testing.assert_allclose(prediction.quantiles[:, :, 0], QUANTILES)
    np.testing.assert_allclose(prediction.levels, LEVELS)
    assert y.shape == (6, 1)


@pytest.mark.parametrize("dtype", [">f8", np.longdouble, np.float16])
def test_numbers_of_any_length_and_byte_order(stored, dtype) -> None:
    std = 300 * np.ones(6)  # whose square is beyond float16
    path = stored(mean=MEAN.astype(dtype), std=std.astype(dtype), y=Y.astype(dtype))
    prediction, y, _ = read_arrays(path)
    np.testing.assert_allclose(prediction.mean[:, 0], MEAN, atol=1e-3)
    np.testing.assert_allclose(prediction.std[:, 0], std)
    np.testing.assert_allclose(y[:, 0], Y, atol=1e-3)


@pytest.mark.parametrize("dtype", [">i4", np.uint16, np.uint64])
def test_labels_of_any_integers(stored, dtype) -> None:
    _, y, _ = read_arrays(stored(probs=PROBS, labels=LABELS.astype(dtype)))
    assert torch.equal(y, torch.from_numpy(LABELS).long())


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.uint64])
def test_numbers_may_be_whole(stored, dtype) -> None:
    whole = np.arange(6).astype(dtype)
    prediction, y, _ = read_arrays(stored(mean=whole, std=whole, y=whole))
    np.testing.assert_array_equal(prediction.std[:, 0], whole.astype(float))
    np.testing.assert_array_equal(y[:, 0], whole.astype(float))


def test_targets_may_be_missing(stored) -> None:
    assert read_arrays(stored(probs=PROBS))[1] is None


BAD = {
    "nothing known": ({"p": PROBS}, "holds p, expected one of `probs` or `logits`"),
    "two kinds": ({"probs": PROBS, "logits": LOGITS}, "holds probs, logits, expected one of"),
    "half a kind": ({"std": MEAN, "y": Y}, "holds std, y, expected one of"),
    "two targets": ({"probs": PROBS, "y": LABELS, "labels": LABELS}, "one of `labels` and `y`"),
    "no distributions": ({"probs": LOGITS}, "`probs` lies in .*under the name `logits`"),
    "negative": ({"mean": MEAN, "std": -STD}, "`std` holds -1.*expected standard deviations"),
    "other length": (
        {"mean": MEAN, "std": STD[:4]},
        r"`std` has shape \(4,\), expected \(6,\): reshape it to match `mean`",
    ),
    "infinite": ({"mean": MEAN, "std": STD * np.inf}, "`std` has 0 NaN and 6 infinite values"),
    "complex": ({"mean": MEAN + 1j, "std": STD}, "`mean` has dtype complex128, expected real num"),
    "NaN": ({"mean": MEAN * np.nan, "std": STD}, "`mean` has 6 NaN"),
    "crossing": ({"quantiles": QUANTILES[:, ::-1].copy(), "levels": LEVELS}, "`quantiles` cross"),
    "objects": ({"probs": np.array([{}, {}])}, "is no .npz file of numbers"),
}


ONE_HOT = np.eye(3, dtype=int)[LABELS]
BAD_LABELS = {
    "names": (np.array(["cat", "dog"] * 3), "has dtype <U3, expected class numbers 0 to 2: store"),
    "floats": (LABELS.astype(float), r"has dtype float64, .* integers: store `NAME.astype\(int\)`"),
    "halves": (LABELS / 2, "holds 0.5, expected class numbers 0 to 2"),
    "NaN": (LABELS * np.nan, "holds nan, expected class numbers 0 to 2"),
    "unknown": (LABELS + 1, "holds the label 3, expected 0 to 2: leave out what has"),
    "none": (LABELS.astype(int) - 1, "holds the label -1, expected 0 to 2: leave out what has"),
    "votes": (PROBS, r"has shape \(6, 3\), .*store `NAME.argmax\(1\)`"),
    "one hot": (ONE_HOT, r"has shape \(6, 3\), .*store `NAME.argmax\(1\)`"),
    "column": (LABELS[:, None], r"has shape \(6, 1\), expected \(6,\): call `NAME.squeeze\(1\)`"),
    "fewer": (LABELS[:4], r"has shape \(4,\), expected \(6,\)"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
@pytest.mark.parametrize("name", ["labels", "y"])
def test_labels_that_do_not_fit_are_told_by_their_name(stored, case, name) -> None:
    labels, message = BAD_LABELS[case]
    path = stored(probs=PROBS, **{name: labels})
    with pytest.raises(ValueError, match=f"npz`: `{name}` {message.replace('NAME', name)}"):
        read_arrays(path)
    assert len(read_prediction(path)) == 6


@pytest.mark.parametrize("name", ["labels", "y"])
@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (Y[:4], r"has shape \(4,\), expected \(6,\)"),
        (Y * np.nan, "has 6 NaN"),
        (Y.astype(str), r"has dtype <U\d+, expected real numbers: store `NAME.astype\(float\)`"),
    ],
)
def test_numbers_that_do_not_fit_are_told_by_their_name(stored, name, targets, message) -> None:
    for arrays in ({"mean": MEAN, "std": STD}, {"quantiles": QUANTILES, "levels": LEVELS}):
        path = stored(**arrays, **{name: targets})
        with pytest.raises(ValueError, match=f"npz`: `{name}` {message.replace('NAME', name)}"):
            read_arrays(path)


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told(stored, case) -> None:
    arrays, message = BAD[case]
    with pytest.raises(ValueError, match=f"predictions.npz`.*{message}"):
        read_arrays(stored(**arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"no numbers"])
def test_damaged_files_are_told(tmp_path, content) -> None:
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.npz` is no .npz file of numbers"):
        read_arrays(path)


def test_a_single_array_is_no_npz(tmp_path) -> None:
    np.save(tmp_path / "one.npy", PROBS)
    with pytest.raises(ValueError, match=r"is no .npz file of numbers"):
        read_arrays(tmp_path / "one.npy")


def test_a_missing_file_is_told(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected predictions in an \.npz file"):
        read_arrays(tmp_path / "none.npz")


@pytest.mark.parametrize("columns", [False, True])
def test_counts_are_told_by_their_laws(stored, columns) -> None:
    shape, counts = (6, 1) if columns else (6,), np.arange(6)
    prediction, y, _ = read_arrays(stored(rate=STD.reshape(shape), y=counts.reshape(shape)))
    assert isinstance(prediction, PoissonPrediction)
    np.testing.assert_allclose(prediction.mean[:, 0], STD)
    np.testing.assert_allclose(y[:, 0], counts)
    prediction, _, _ = read_arrays(stored(mean=STD.reshape(shape), dispersion=STD.reshape(shape)))
    assert isinstance(prediction, NegativeBinomialPrediction)
    np.testing.assert_allclose(prediction.variance[:, 0], STD + STD**3)
