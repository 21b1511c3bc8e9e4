"""D-ECE of detections: values of netcal, and what it says of detections by hand."""

from __future__ import annotations

import math

import pytest
import torch

from duda.boxes import BoxPrediction, detection_calibration
from tests.boxes.test_metrics import scene

WHOLE = (140, 140)


def test_d_ece_of_netcal() -> None:
    """By netcal 1.4.0, `ECE(bins=5, detection=True, sample_threshold=1)` of these detections."""
    found = detection_calibration(*scene(5, pictures=150), WHOLE)
    assert found.d_ece(by=(), fewest=1) == pytest.approx(0.12594873524451944, abs=1e-12)
    assert found.d_ece(("x", "y"), fewest=1) == pytest.approx(0.17086441821247894, abs=1e-12)
    assert found.d_ece(fewest=1) == pytest.approx(0.24194873524451938, abs=1e-12)
    assert found.d_ece(by=(), fewest=1) == pytest.approx(found.reliability(bins=5).ece)


def test_places_are_shares_of_the_picture() -> None:
    said = BoxPrediction([[10, 20, 30, 80]], [[0.5]])
    found = detection_calibration([said, said], [([], [])] * 2, [(100, 200), (200, 100)])
    wanted = [[0.1, 0.5, 0.1, 0.6], [0.2, 0.25, 0.2, 0.3]]
    torch.testing.assert_close(found.place, torch.tensor(wanted).double())
    assert found.precision == 0


def test_labels_and_duplicates_count() -> None:
    box = [0.0, 0, 10, 10]
    said = BoxPrediction([box] * 3, [[0.6, 0.1], [0.9, 0.0], [0.1, 0.7]])
    found = detection_calibration([said], [([box], [0])], (20, 20))
    assert found.right.tolist() == [False, True, False]


def test_few_detections_in_a_bin_do_not_count() -> None:
    said = BoxPrediction([[0.0, 0, 10, 10]] * 9 + [[0.0, 0, 19, 19]], [[0.5]] * 10)
    found = detection_calibration([said], [([], [])], (20, 20))
    assert found.d_ece() == pytest.approx(0.5)
    assert math.isnan(found.d_ece(fewest=11))
    with pytest.raises(ValueError, match="unknown `by` 'widht': did you mean 'width'"):
        found.d_ece(by=["widht"])  # type: ignore[list-item]
