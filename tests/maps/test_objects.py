"""Objects of segmentations: against loops, by hand, and what their means are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from torch import Tensor

from duda import Categorical, ClassPrediction
from duda.maps import objects


def prediction(seed: int, size: tuple[int, ...] = (12, 14), classes: int = 3) -> ClassPrediction:
    torch.manual_seed(seed)
    return Categorical().reduce(2 * torch.randn(4, 2, classes, *size))


def by_loops(said: Tensor, y: Tensor, classes: list[int]) -> list[tuple[int, int, int, float]]:
    """Return picture, class, pixels and IoU of each object, pixel by pixel."""
    found = []
    for place in range(len(said)):
        for each in classes:
            ours, count = label(said[place].numpy() == each, np.ones((3, 3)))
            true, _ = label(y[place].numpy() == each, np.ones((3, 3)))
            for number in range(1, count + 1):
                mine = ours == number
                touched = np.isin(true, [part for part in np.unique(true[mine]) if part])
                union = mine | (touched & ~((ours > 0) & ~mine))
                found.append((place, each, mine.sum(), float((mine & touched).sum() / union.sum())))
    return found


@given(st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_against_loops(seed: int) -> None:
    answer = prediction(seed)
    y = torch.randint(3, (2, 12, 14))
    found = objects(answer, y, background=0)
    wanted = by_loops(answer.labels, y, [1, 2])
    assert found.iou is not None
    columns = found.picture, found.labels, found.pixels, found.iou
    assert len(wanted) == found.count
    for column, expected in zip(columns, zip(*wanted, strict=True), strict=True):
        assert column.tolist() == pytest.approx(list(expected))
    assert ((found.iou >= 0) & (found.iou <= 1)).all()


def test_means_over_pixels() -> None:
    answer = prediction(0)
    found = objects(answer)
    assert found.iou is None
    assert (found.numbers >= 0).all()
    for each in range(found.count):
        inside = found.numbers == each
        assert (answer.labels[inside] == found.labels[each]).all()
        assert int(inside.sum()) == int(found.pixels[each])
        for name in ("confidence", "entropy", "epistemic"):
            mean = getattr(answer, name)[inside].double().mean()
            torch.testing.assert_close(getattr(found, name)[each], mean)


def test_the_truth_itself_is_right() -> None:
    y = torch.randint(3, (2, 12, 14))
    perfect = ClassPrediction.from_probs(torch.nn.functional.one_hot(y, 3).movedim(3, 1).double())
    found = objects(perfect, y, background=[0])
    assert found.iou is not None
    assert (found.iou == 1).all()
    assert (found.entropy == 0).all()


def test_two_parts_of_one_true_object_are_not_each_other_s_errors() -> None:
    y = torch.tensor([[[1, 1, 1, 1, 1]]])
    said = torch.tensor([[[1, 1, 0, 1, 1]]])
    answer = ClassPrediction.from_probs(torch.stack([1 - said, said], 1).double())
    found = objects(answer, y, background=0)
    assert found.iou is not None
    assert found.iou.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_ignored_pixels_are_no_part() -> None:
    answer = prediction(1)
    y = torch.randint(3, (2, 12, 14))
    y[:, :, 7] = 255
    found = objects(answer, y, ignore_index=255)
    assert (found.numbers[:, :, 7] == -1).all()
    assert int(found.pixels.sum()) == 2 * 12 * 13


def test_nothing_and_volumes() -> None:
    answer = ClassPrediction.from_probs(
        torch.tensor([0.9, 0.1]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    )
    found = objects(answer, torch.ones(1, 4, 4).long(), background=0)
    assert (found.count, found.entropy.shape) == (0, (0,))
    assert objects(prediction(2, (4, 5, 6))).numbers.shape == (2, 4, 5, 6)
    with pytest.raises(ValueError, match=r"`prediction` has probabilities of shape \(1, 2\), exp"):
        objects(ClassPrediction.from_probs([[0.5, 0.5]]))
