"""Conformal boxes: coverage over many calibration sets, by hand, and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from duda.boxes import BoxPrediction, ConformalBoxes
from duda.boxes.conformal import Edges, Score

Pictures = tuple[list[BoxPrediction], list[tuple[np.ndarray, np.ndarray]]]


def picture(rng: np.random.Generator, count: int) -> Pictures:
    """Return a picture of boxes that are found with errors as large as they are said to be."""
    true = np.array([20.0, 20, 60, 80]) + 100 * np.arange(count)[:, None]
    std = rng.uniform(0.5, 2, (count, 4)) * [1, 1, 2, 1]
    found = true + std * rng.standard_t(5, (count, 4))
    labels = np.arange(count) % 2
    probs = 0.9 * np.eye(2)[labels]
    return [BoxPrediction(found, probs, std**2)], [(true, labels)]


@pytest.mark.parametrize(
    ("edges", "score"), [("each", "absolute"), ("max", "normalized"), ("bonferroni", "relative")]
)
def test_coverage_over_calibration_sets(edges: Edges, score: Score) -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(40):
        conformal = ConformalBoxes(0.2, edges, score).fit(*picture(rng, 59))
        covered.append(conformal.coverage(*picture(rng, 100)).observed)
    mean = torch.stack(covered).mean(0)  # with a standard error of about 0.01
    assert len(mean) == (4 if edges == "each" else 1)
    assert (mean > 0.8 - 0.03).all()
    assert (mean < 0.8 + (0.06 if edges == "bonferroni" else 0.03)).all()


def test_bounds_by_hand() -> None:
    said = BoxPrediction([[0, 0, 4, 2]], [[0.9]], [[1, 1, 4, 1]])
    truth = [([[-1, 0, 4, 2.5]], [0])]
    many = [said] * 4, truth * 4
    each = ConformalBoxes(0.2, "each").fit(*many)
    assert each.thresholds.tolist() == [1, 0, 0, 0.5]
    assert each(said).outer.tolist() == [[-1, 0, 4, 2.5]]
    together = ConformalBoxes(0.2, "max", "relative", iou=0.3).fit(*many)
    assert together.thresholds.tolist() == [0.25] * 4
    assert together(said).inner.tolist() == [[1, 0.5, 3, 1.5]]
    few = ConformalBoxes(0.2, "bonferroni").fit(*many)  # four are too few for a twentieth
    assert few.thresholds.isinf().all()
    assert few(said).contains([[0, 0, 1, 1]]).all()


def test_only_detected_boxes_count() -> None:
    said = BoxPrediction([[0, 0, 4, 4], [0, 0, 4, 4.5], [50, 50, 60, 60]], [[0.9, 0]] * 3)
    truths = [([[0, 0, 4, 5], [0, 0, 4, 4], [80, 80, 90, 90]], [0, 1, 0])]
    one = ConformalBoxes(0.5, score="absolute").fit([said], truths)
    assert (one.pairs, one.thresholds[0]) == (1, 1.0)
    any_class = ConformalBoxes(0.5, score="absolute", by_class=False).fit([said], truths)
    assert any_class.pairs == 2
    with pytest.raises(ValueError, match=r"`predictions` overlap no true box by 0\.5"):
        ConformalBoxes(score="absolute").fit([said[2:]], truths)


def test_no_boxes_have_no_bounds() -> None:
    conformal = ConformalBoxes().fit(*picture(np.random.default_rng(0), 10))
    found = conformal(BoxPrediction([], torch.zeros(0, 2)))
    assert found.outer.shape == found.contains([]).shape == (0, 4)


@pytest.mark.parametrize("edges", ["each", "max", "bonferroni"])
def test_kept_in_files(edges: Edges, tmp_path: Path) -> None:
    said, truths = picture(np.random.default_rng(0), 30)
    conformal = ConformalBoxes(0.1, edges, by_class=False).fit(said, truths)
    back = ConformalBoxes.load(conformal.save(tmp_path / "file"))
    assert back.get_params() == conformal.get_params()
    assert torch.equal(back(said[0]).lower, conformal(said[0]).lower)
    back.thresholds = torch.tensor([-1.0, 1, 1, 1]).double()
    with pytest.raises(ValueError, match="holds no valid ConformalBoxes: its `thresholds` are"):
        ConformalBoxes.load(back.save(tmp_path / "file"))


def test_bad_input_is_one_sentence() -> None:
    sharp = BoxPrediction([[0, 0, 4, 4]], [[0.9]])
    with pytest.raises(ValueError, match="1 of 1 boxes have a `std` of 0, by which nothing can be"):
        ConformalBoxes().fit([sharp], [([[0, 0, 4, 4]], [0])])
    with pytest.raises(ValueError, match="unknown edges 'joint'"):
        ConformalBoxes(edges="joint")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not fitted: call its `fit` first"):
        ConformalBoxes()(sharp)
    fitted = ConformalBoxes(score="absolute").fit([sharp], [([[0, 0, 4, 4]], [0])])
    with pytest.raises(ValueError, match=r"`boxes` has shape \(2, 4\), expected \(1, 4\)"):
        fitted(sharp).contains([[0, 0, 4, 4]] * 2)
