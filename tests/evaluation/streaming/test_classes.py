from datetime import timedelta

import pytest
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st

from duda import evaluation
from duda.evaluation.streaming import (
    StreamingAccuracy,
    StreamingBrier,
    StreamingIoU,
    StreamingNLL,
    StreamingReliability,
)

CLASSES = 3
MEANS = {
    "accuracy": (StreamingAccuracy, evaluation.accuracy),
    "nll": (StreamingNLL, evaluation.nll),
    "brier": (StreamingBrier, evaluation.brier),
}
STATES = ("edges", "counts", "hits", "confidence_sums", "null_variances")


def examples(n, seed, positions=()):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, CLASSES, *positions, generator=generator)
    return logits.softmax(1), torch.randint(CLASSES, (n, *positions), generator=generator)


def fed(metric, probs, y, sizes):
    """Update the metric with batches of these sizes, and the rest."""
    start = 0
    for size in [*sizes, len(y)]:
        if start < len(y):
            metric.update(probs[start : start + size], y[start : start + size])
        start += size
    return metric


def assert_same(found, expected):
    for name in STATES:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.hits, expected.hits)


batchings = st.tuples(
    st.integers(1, 40), st.integers(0, 99), st.lists(st.integers(1, 12), max_size=8)
)


@settings(deadline=None)
@given(batchings, st.sampled_from(["top", "class"]))
def test_reliability_in_any_batching(case, kind):
    n, seed, sizes = case
    probs, y = examples(n, seed)
    classes = CLASSES if kind == "class" else None
    metric = fed(StreamingReliability(bins=7, kind=kind, classes=classes), probs, y, sizes)
    expected = evaluation.reliability(probs, y, bins=7, kind=kind)
    assert_same(metric.result(), expected)
    assert float(metric.compute()) == pytest.approx(expected.ece, abs=1e-12)


@settings(deadline=None)
@given(batchings, st.sampled_from(sorted(MEANS)))
def test_means_in_any_batching(case, name):
    n, seed, sizes = case
    probs, y = examples(n, seed)
    streaming, function = MEANS[name]
    metric = fed(streaming(), probs, y, sizes)
    assert float(metric.compute()) == pytest.approx(function(probs, y), rel=1e-12)


@settings(deadline=None)
@given(batchings)
def test_iou_in_any_batching(case):
    n, seed, sizes = case
    probs, y = examples(n, seed)
    metric = fed(StreamingIoU(CLASSES), probs, y, sizes)
    expected = evaluation.confusion(probs, y)
    assert torch.equal(metric.result().matrix, expected.matrix)
    assert float(metric.compute()) == expected.mean_iou


def test_positions_without_labels_and_a_batch_of_nothing_else():
    probs, y = examples(6, 0, positions=(4, 5))
    y[:2] = 255
    y[3, 1] = 255
    labelled = y != 255
    flat = probs.movedim(1, -1)[labelled]
    metric = fed(StreamingReliability(ignore_index=255), probs, y, [2, 1])
    assert_same(metric.result(), evaluation.reliability(flat, y[labelled]))
    for streaming, function in MEANS.values():
        metric = fed(streaming(ignore_index=255), probs, y, [2, 1])
        assert float(metric.compute()) == pytest.approx(function(flat, y[labelled]), rel=1e-12)
    metric = fed(StreamingIoU(CLASSES, ignore_index=255), probs, y, [2, 1])
    assert torch.equal(metric.result().matrix, evaluation.confusion(flat, y[labelled]).matrix)


def test_votes_after_labels():
    probs, y = examples(8, 0)
    votes = examples(8, 1)[0].double()
    metric = StreamingReliability()
    metric.update(probs, y)
    assert metric.result().hits.dtype == torch.int64
    metric.update(probs, votes)
    both = evaluation.reliability(probs, y) + evaluation.reliability(probs, votes)
    torch.testing.assert_close(metric.result().hits, both.hits)
    brier = fed(StreamingBrier(), probs, votes, [3])
    assert float(brier.compute()) == pytest.approx(evaluation.brier(probs, votes))


def test_logits_and_forward():
    probs, y = examples(10, 0)
    metric = StreamingNLL()
    logits = probs.log()
    assert float(metric(y=y[:4], logits=logits[:4])) == pytest.approx(
        evaluation.nll(y=y[:4], logits=logits[:4])
    )
    metric(y=y[4:], logits=logits[4:])
    assert float(metric.compute()) == pytest.approx(evaluation.nll(y=y, logits=logits))


def test_the_state_does_not_grow():
    metric = StreamingReliability(bins=7)
    sizes = set()
    for n in (1, 100, 10_000):
        metric.update(*examples(n, n))
        sizes.add(sum(state.numel() for state in metric.metric_state.values()))
    assert sizes == {4 * 7 + 1}


def test_a_result_stays_as_it_was():
    metric = fed(StreamingReliability(), *examples(5, 0), [])
    before = metric.result()
    metric.update(*examples(5, 1))
    assert int(before.counts.sum()) == 5
    metric.reset()
    assert int(before.counts.sum()) == 5


def share(rank, meeting_point, folder):
    """Count this process' part, and leave what all processes found together."""
    torch.distributed.init_process_group(
        "gloo", meeting_point, rank=rank, world_size=2, timeout=timedelta(minutes=3)
    )
    probs, y = examples(23, 0)
    part = slice(0, 9) if rank == 0 else slice(9, None)
    metrics = {
        "reliability": StreamingReliability(),
        "classwise": StreamingReliability(kind="class", classes=CLASSES),
        "iou": StreamingIoU(CLASSES),
        **{name: streaming() for name, (streaming, _) in MEANS.items()},
    }
    found = {}
    for name, metric in metrics.items():
        metric.update(probs[part], y[part])
        found[name] = metric.compute()
        if hasattr(metric, "result"):
            found[name, "result"] = vars(metric.result())
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def second(_, meeting_point, folder):
    share(1, meeting_point, folder)


def test_two_processes(tmp_path):
    where = (f"file://{tmp_path}/meeting", str(tmp_path))
    other = torch.multiprocessing.spawn(second, where, nprocs=1, join=False)
    share(0, *where)
    while not other.join():
        pass
    probs, y = examples(23, 0)
    whole = evaluation.reliability(probs, y)
    classwise = evaluation.reliability(probs, y, kind="class")
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert_same(evaluation.Reliability(**found["reliability", "result"]), whole)
        assert_same(evaluation.Reliability(**found["classwise", "result"]), classwise)
        assert float(found["reliability"]) == pytest.approx(whole.ece, abs=1e-12)
        assert float(found["iou"]) == evaluation.confusion(probs, y).mean_iou
        for name, (_, function) in MEANS.items():
            assert float(found[name]) == pytest.approx(function(probs, y), rel=1e-12)


def test_quantiles_cannot_stream():
    with pytest.raises(ValueError, match="quantiles need all examples at once"):
        StreamingReliability(binning="quantile")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "`bins` is 0"),
        ({"binning": "equal"}, "`binning` is 'equal'"),
        ({"kind": "class"}, "`classes` is None"),
        ({"classes": 3}, "`kind` is 'top' and `classes` is 3"),
        ({"kind": "class", "classes": 0}, "`classes` is 0"),
        ({"norm": "l2"}, "norm"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        StreamingReliability(**options)


@pytest.mark.parametrize(
    "metric", [StreamingReliability(kind="class", classes=4), StreamingIoU(4)], ids=["class", "iou"]
)
def test_other_numbers_of_classes(metric):
    with pytest.raises(ValueError, match="3 classes, expected `classes`, which is 4"):
        metric.update(*examples(5, 0))


@pytest.mark.parametrize(
    "metric",
    [
        StreamingReliability(ignore_index=0),
        StreamingIoU(2, ignore_index=0),
        StreamingNLL(ignore_index=0),
    ],
    ids=["reliability", "iou", "nll"],
)
def test_nothing_came_in(metric):
    metric.update([[0.5, 0.5]], [0])
    with pytest.raises(ValueError, match="0 labelled examples"):
        metric.compute()


def test_votes_have_no_accuracy():
    for metric in (StreamingAccuracy(), StreamingIoU(2)):
        with pytest.raises(ValueError, match=r"y.argmax\(1\)"):
            metric.update([[0.5, 0.5]], [[0.5, 0.5]])


def test_streaming_is_imported_when_asked_for():
    assert evaluation.streaming.StreamingNLL is StreamingNLL
    with pytest.raises(AttributeError, match="no attribute 'steaming'"):
        evaluation.steaming  # noqa: B018
