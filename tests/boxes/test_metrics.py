"""Metrics of boxes: values of pycocotools, densities of scipy, pictures with nothing in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from duda.boxes import BoxPrediction, average_precision, detection_errors

EMPTY = BoxPrediction([], torch.zeros(0, 2))
NOTHING = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
BOX = [[0.0, 0.0, 10.0, 10.0]]


def scene(
    seed: int, pictures: int = 12, classes: int = 3
) -> tuple[list[BoxPrediction], list[tuple[np.ndarray, np.ndarray]]]:
    """Return detections near most of the true boxes, and some that are of other classes or none."""
    rng = np.random.default_rng(seed)
    said, truths = [], []
    for _ in range(pictures):
        count = rng.integers(0, 6)
        corner, size = rng.uniform(0, 80, (count, 2)), rng.uniform(10, 40, (count, 2))
        boxes, labels = np.hstack([corner, corner + size]).round(2), rng.integers(0, classes, count)
        kept = rng.random(count) < 0.9
        found = boxes[kept] + rng.normal(size=(kept.sum(), 4)) * 1.5
        confused = rng.random(kept.sum()) < 0.85
        names = np.where(confused, labels[kept], rng.integers(0, classes, kept.sum()))
        extra = rng.integers(0, 3)
        corner = rng.uniform(0, 80, (extra, 2))
        false = np.hstack([corner, corner + rng.uniform(10, 40, (extra, 2))])
        found = np.vstack([found, false, found[:1] + 1.0]).round(2)
        names = np.concatenate([names, rng.integers(0, classes, extra), names[:1]])
        scores = rng.random(len(found)).round(4)
        said.append(BoxPrediction.from_labels(found, names, scores, classes))
        truths.append((boxes, labels))
    return said, truths


def test_average_precision_of_pycocotools() -> None:
    """By pycocotools 2.0.11, `COCOeval(truths, results, "bbox")` of this scene."""
    said, truths = scene(5)
    found = average_precision(said, truths)
    assert found.mean == pytest.approx(0.34658126338949685, abs=1e-12)
    wanted = [
        [0.3663366336633656, 0.5876159044475875, 0.6046899426784788],
        [0.3663366336633656, 0.5876159044475875, 0.3291297550807713],
    ]
    np.testing.assert_allclose(found.by_class[[0, 5]], wanted, atol=1e-12)


def test_average_precision_of_voc_by_hand() -> None:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    said = BoxPrediction(
        [boxes[0], [0, 50, 9, 60], boxes[1], boxes[1]], [[0.9], [0.8], [0.7], [0.6]]
    )
    truth = [(boxes, [0, 0, 0])]
    assert average_precision([said], truth, 0.5, "voc").mean == pytest.approx(1 / 3 + 2 / 9)
    points = 4 * 1 + 3 * 2 / 3  # recall 0 to 0.3, then 0.4 to 0.6
    assert average_precision([said], truth, 0.5, "voc-2007").mean == pytest.approx(points / 11)


@pytest.mark.parametrize("rule", ["coco", "voc", "voc-2007"])
def test_order_of_pictures_and_boxes_does_not_matter(rule: str) -> None:
    said, truths = scene(1)
    order = np.random.default_rng(0).permutation(len(said))
    mixed = [said[i][torch.randperm(len(said[i]))] for i in order]
    found = average_precision(mixed, [truths[i] for i in order], rule=rule)  # type: ignore[arg-type]
    wanted = average_precision(said, truths, rule=rule)  # type: ignore[arg-type]
    torch.testing.assert_close(found.by_class, wanted.by_class)


def test_pictures_with_nothing_in_them() -> None:
    some = BoxPrediction(BOX, [[0.9, 0.0]])
    assert math.isnan(average_precision([EMPTY, some], [NOTHING, NOTHING]).mean)
    assert average_precision([EMPTY], [(BOX, [1])]).mean == 0
    assert detection_errors([EMPTY], [(BOX, [1])]).counts["missed"] == 1
    assert detection_errors([some], [NOTHING]).counts["false positive"] == 1
    nothing = detection_errors([EMPTY], [NOTHING])
    assert sum(nothing.counts.values()) == 0
    assert nothing.nll().shape == nothing.energy_score().shape == nothing.class_nll().shape == (0,)


def test_errors_by_kind() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9.5], [0, 0, 10, 5], [50, 50, 60, 60]]
    said = BoxPrediction(boxes, [[0.5, 0.1], [0.9, 0.0], [0.3, 0.3], [0.2, 0.0]], [[1.0] * 4] * 4)
    found = detection_errors([said], [([*BOX, [80, 80, 90, 90]], [0, 1])])
    assert found.kind.tolist() == [1, 0, 2, 3]
    assert found.missed == 1
    wanted = [-math.log(p) for p in (0.5, 0.9, 0.3, 0.8)]
    assert found.class_nll().tolist() == pytest.approx(wanted)
    means = found.by_kind(found.nll())
    assert math.isnan(means["false positive"])
    assert means["localization error"] == pytest.approx(2 * math.log(2 * math.pi) + 12.5)


def test_nll_and_energy_score_against_scipy() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    covariance, middle = root @ root.T / 4, np.array([1.0, 0.5, 11.0, 9.0])
    said = BoxPrediction(middle[None], [[0.9]], np.eye(4)[None], covariance[None])
    found = detection_errors([said], [(BOX, [0])])
    law = multivariate_normal(middle, covariance + np.eye(4))
    assert float(found.nll()) == pytest.approx(-law.logpdf(BOX[0]))
    drawn = law.rvs(200_000, random_state=1)
    apart = np.linalg.norm(drawn - BOX[0], axis=1).mean()
    wanted = apart - np.linalg.norm(drawn[::2] - drawn[1::2], axis=1).mean() / 2
    assert float(found.energy_score(samples=50_000)) == pytest.approx(wanted, abs=0.02)


def test_the_energy_score_of_one_edge_is_its_crps_and_of_points_the_distance() -> None:
    one = BoxPrediction([[0.0, 0, 10, 11]], [[0.9]], [[0.0, 0, 0, 4]])
    found = detection_errors([one], [(BOX, [0])])
    z = 1 / 2  # the closed form of a normal distribution, Gneiting & Raftery 2007
    crps = 2 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    assert float(found.energy_score(samples=50_000)) == pytest.approx(crps, abs=0.02)
    point = BoxPrediction([[0.0, 0, 10, 11]], [[0.9]])
    assert float(detection_errors([point], [(BOX, [0])]).energy_score()) == 1
    with pytest.raises(ValueError, match="1 of 1 boxes have a singular covariance"):
        found.nll()
    assert found.nll(floor=1.0).isfinite().all()


def test_bad_input_is_one_sentence() -> None:
    said = BoxPrediction(BOX, [[0.9]])
    with pytest.raises(TypeError, match="`predictions` is no list, expected a `BoxPrediction` for"):
        average_precision(said, [(BOX, [0])])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of 1 pictures and `truths` of 2"):
        average_precision([said], [(BOX, [0]), NOTHING])
    with pytest.raises(ValueError, match=r"`truths\[0\]` has labels 1 to 1, expected 0 to 0"):
        detection_errors([said], [(BOX, [1])])
    with pytest.raises(ValueError, match=r"`truths\[0\] labels` has shape \(2,\), expected \(1,\)"):
        detection_errors([said], [(BOX, [0, 0])])
    with pytest.raises(TypeError, match=r"`truths\[0\]` is .* expected a pair of boxes and labels"):
        detection_errors([said], [{"boxes": BOX}])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="unknown rule 'pascal'"):
        average_precision([said], [(BOX, [0])], rule="pascal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`near` is 0\.8, expected it below `right`"):
        detection_errors([said], [(BOX, [0])], near=0.8)
