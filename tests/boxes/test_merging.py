"""Merging of detections: laws that hold for any members, and what degenerate pictures give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import duda
from duda.boxes import BoxPrediction, iou, merge

NONE = BoxPrediction([], torch.zeros(0, 3))


def member(seed: int, count: int = 6, digits: int | None = None) -> BoxPrediction:
    """Return boxes around the same few objects, with probabilities and variances."""
    rng = np.random.default_rng(seed)
    corner = np.arange(count)[:, None] * 30 + rng.normal(size=(count, 2)) * 2
    size = 20 + rng.normal(size=(count, 2)) * 2
    probs = rng.dirichlet(np.ones(4), count)[:, :3]
    boxes, within = np.hstack([corner, corner + size]), rng.uniform(0.1, 2, (count, 4))
    if digits is not None:  # so that values tie
        boxes, probs = boxes.round(-1), probs.round(digits)
    return BoxPrediction(boxes, probs, within)[rng.permutation(count)]


def assert_equal(one: BoxPrediction, other: BoxPrediction) -> None:
    for name, value in one.state().items():
        torch.testing.assert_close(value, getattr(other, name), rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), st.randoms())
def test_order_of_members_and_detections_does_not_matter(seeds: list[int], random: object) -> None:
    members = [member(seed, count=2 + seed % 6) for seed in seeds]
    mixed = [each[torch.randperm(len(each))] for each in members]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert_equal(merge(mixed), merge(members))


def test_ties_do_not_make_order_matter() -> None:
    members = [member(seed, digits=0) for seed in range(4)]
    for turn in range(4):
        mixed = [each[range(len(each))[::-1]] for each in members[turn:] + members[:turn]]
        assert_equal(merge(mixed), merge(members))


@given(st.integers(0, 99))
def test_one_member_is_the_member(seed: int) -> None:
    one = member(seed)
    found = merge([one])
    order = one.existence.argsort(descending=True)
    assert_equal(found, one[order])
    assert not found.between.any()
    twice = merge([one, one, one])
    torch.testing.assert_close(twice.boxes, found.boxes)
    torch.testing.assert_close(twice.covariance, found.covariance)
    assert (twice.votes == 3).all()


@given(st.floats(-1e3, 1e3), st.floats(0.01, 100), st.booleans())
def test_translation_and_scale(shift: float, scale: float, by_class: bool) -> None:
    members = [member(seed) for seed in range(3)]
    moved = [
        BoxPrediction(each.boxes * scale + shift, each.probs, each.within * scale**2)
        for each in members
    ]
    found, other = merge(members, by_class=by_class), merge(moved, by_class=by_class)
    torch.testing.assert_close(other.boxes, found.boxes * scale + shift, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(other.covariance, found.covariance * scale**2, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(other.probs, found.probs)


def test_the_law_of_total_variance_against_draws() -> None:
    members = [member(seed, count=1) for seed in range(3)]
    found = merge(members)
    assert len(found) == 1
    weight = torch.cat([each.existence for each in members])
    random = torch.Generator().manual_seed(0)
    which = torch.multinomial(weight, 200_000, replacement=True, generator=random)
    boxes = torch.cat([each.boxes for each in members])[which]
    std = torch.cat([each.std for each in members])[which]
    drawn = boxes + std * torch.randn(boxes.shape, generator=random, dtype=torch.float64)
    torch.testing.assert_close(drawn.mean(0), found.boxes[0], rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.T.cov(), found.covariance[0], rtol=0.03, atol=0.05)


def test_silent_members_say_background() -> None:
    one = BoxPrediction([[0, 0, 4, 4]], [[0.6, 0.3]])
    nothing = BoxPrediction([], torch.zeros(0, 2))
    found = merge([one, nothing, nothing])
    torch.testing.assert_close(found.probs, one.probs / 3)
    assert float(found.existence) == pytest.approx(0.3)
    assert (found.votes.tolist(), found.members) == ([1], 3)
    torch.testing.assert_close(found.boxes, one.boxes)


def test_members_that_disagree_about_the_class() -> None:
    box = [[0, 0, 4, 4]]
    members = [BoxPrediction(box, [[0.9, 0.0]]), BoxPrediction(box, [[0.0, 0.8]])]
    torch.testing.assert_close(merge(members).probs, torch.tensor([[0.45, 0.4]]).double())
    assert merge(members, by_class=True).votes.tolist() == [1, 1]


def test_two_boxes_of_one_member_stay_two_objects() -> None:
    close = BoxPrediction([[0, 0, 10, 10], [1, 0, 11, 10]], [[0.9], [0.8]])
    found = merge([close, close])
    assert found.votes.tolist() == [2, 2]
    torch.testing.assert_close(found.boxes, close.boxes)


def test_pictures_without_detections() -> None:
    for members in ([NONE], [NONE, NONE]):
        found = merge(members)
        assert len(found) == 0
        assert found.probs.shape == (0, 3)
        assert found.entropy.shape == (0,)
    assert len(merge([BoxPrediction([[1, 1, 1, 5]], [[0.0]])] * 2)) == 1  # no area, no existence


def test_iou_by_hand() -> None:
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 5], [5, 5, 5, 6]]
    wanted = torch.eye(4).double()
    wanted[0, 1] = wanted[1, 0] = 1 / 7
    torch.testing.assert_close(iou(boxes, boxes), wanted)
    assert iou([], boxes).shape == (0, 4)


def test_kept_indexed_and_joined(tmp_path: Path) -> None:
    found = merge([member(0), member(1), NONE])
    assert_equal(BoxPrediction.load(found.save(tmp_path / "file")), found)
    assert_equal(duda.load_prediction(tmp_path / "file"), found)
    assert_equal(BoxPrediction.concatenate([found[:2], found[2:]]), found)
    empty = merge([NONE])
    assert len(BoxPrediction.load(empty.save(tmp_path / "file"))) == 0
    assert found.numpy()["existence"].shape == (len(found),)


def test_by_logits_and_by_labels() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    first = BoxPrediction.from_logits([[0, 0, 1, 1]], logits)
    torch.testing.assert_close(first.probs, logits.double().softmax(1)[:, 1:])
    last = BoxPrediction.from_logits([[0, 0, 1, 1]], logits, background=-1)
    torch.testing.assert_close(last.probs, logits.double().softmax(1)[:, :2])
    torchvision = BoxPrediction.from_labels([[0, 0, 1, 1]], [1], [0.7], classes=3)
    assert torchvision.probs.tolist() == [[0.0, 0.7, 0.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BoxPrediction([[4, 0, 1, 1]], [[1.0]]), "`boxes` has 1 of 1 with right < left"),
        (lambda: BoxPrediction([[0, 0, math.nan, 1]], [[1.0]]), "`boxes` has 1 NaN"),
        (lambda: BoxPrediction([0, 0, 1, 1], [[1.0]]), r"`boxes` has shape \(4,\), expected \(K"),
        (lambda: BoxPrediction([[0, 0, 1, 1]], [0.5]), r"`probs` has shape \(1,\), expected \(1,"),
        (lambda: BoxPrediction([[0, 0, 1, 1]], [[0.8, 0.4]]), r"with sums up to 1\.2, expected"),
        (lambda: BoxPrediction([[0, 0, 1, 1]], [[math.nan]]), "`probs` has 1 NaN"),
        (lambda: BoxPrediction([[0, 0, 1, 1]], [[1.0]], [[1.0, -1, 1, 1]]), "variances below 0"),
        (lambda: BoxPrediction([[0, 0, 1, 1]], [[1.0]], [1.0]), r"`within` has shape \(1,\), exp"),
        (lambda: BoxPrediction([[0, 0, 1, 1]], [[1.0]], votes=[2]), "`votes` holds 2 to 2"),
        (lambda: BoxPrediction.from_labels([[0, 0, 1, 1]], [3], [0.5], 3), "subtract 1 if 0 is"),
        (lambda: BoxPrediction.from_logits([[0, 0, 1, 1]], [[1.0]]), "a column of the background"),
        (lambda: merge([]), "`members` holds none"),
        (lambda: merge([NONE, BoxPrediction([], torch.zeros(0, 2))]), r"know \[2, 3\] classes"),
        (lambda: merge([NONE], iou=1.5), r"`iou` is 1\.5, expected a share"),
    ],
)
def test_bad_input_is_one_sentence(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
