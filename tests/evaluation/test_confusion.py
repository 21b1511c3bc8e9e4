import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from duda.evaluation import accuracy, confusion

labels = st.integers(0, 3)


def certain(predicted, classes=4):
    return torch.eye(classes)[torch.as_tensor(predicted)]


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_scikit_learn(pairs):
    predicted, y = zip(*pairs, strict=True)
    found = confusion(certain(predicted), y)
    assert found.matrix.dtype == torch.int64
    expected = metrics.confusion_matrix(y, predicted, labels=range(4))
    assert found.matrix.tolist() == expected.tolist()
    there = sorted({*predicted, *y})
    assert found.iou.isnan().logical_not().nonzero().flatten().tolist() == there
    ious = metrics.jaccard_score(y, predicted, labels=there, average=None)
    assert found.iou[there].tolist() == pytest.approx(ious, abs=1e-12)
    assert found.mean_iou == pytest.approx(ious.mean(), abs=1e-12)
    assert found.accuracy == accuracy(certain(predicted), y)


def test_recall():
    found = confusion(certain([0, 1, 1]), [0, 0, 1])
    assert found.recall.tolist()[:2] == [0.5, 1.0]
    assert bool(found.recall[2:].isnan().all())


def test_positions_without_a_label():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, generator=generator)
    y = torch.randint(4, (3, 5, 6), generator=generator)
    y[0, :2] = -100
    kept = y != -100
    expected = confusion(logits=logits.movedim(1, -1)[kept], y=y[kept])
    found = confusion(logits=logits, y=y, ignore_index=-100)
    assert torch.equal(found.matrix, expected.matrix)
    assert int(found.matrix.sum()) == int(kept.sum())


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=2, max_size=40), st.integers(1, 39))
def test_parts_add_up(pairs, cut):
    cut = min(cut, len(pairs) - 1)
    predicted, y = zip(*pairs, strict=True)
    left = confusion(certain(predicted[:cut]), y[:cut])
    right = confusion(certain(predicted[cut:]), y[cut:])
    assert torch.equal((left + right).matrix, confusion(certain(predicted), y).matrix)


def test_bad_input():
    with pytest.raises(ValueError, match="3 and 4 classes"):
        confusion(certain([0], 3), [0]) + confusion(certain([0], 4), [0])
    with pytest.raises(ValueError, match="holds the label 4"):
        confusion(certain([0]), [4])
    with pytest.raises(ValueError, match="`ignore_index` 255 everywhere"):
        confusion(certain([0]), [255], ignore_index=255)
    with pytest.raises(ValueError, match=r"y.argmax\(1\)"):
        confusion(certain([0]), certain([0]))
