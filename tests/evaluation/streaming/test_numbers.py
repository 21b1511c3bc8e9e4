import copy
import pickle

import pytest
import torch
from torch import distributed, multiprocessing

from duda import GaussianPrediction
from duda.evaluation import pit
from duda.evaluation.streaming import StreamingPit

SIZES = [1, 40, 59]


def examples():
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(3, 100, 2, generator=generator)
    mean, variance = draws.chunk(2, dim=2)
    moments = mean.mean(0), variance.mean(0), mean.var(0, correction=0)
    return GaussianPrediction(*moments, draws), torch.randn(100, 1, generator=generator)


def batches(answer, y, sizes=SIZES):
    """Return parts of the examples in another order than theirs."""
    return [(answer[index], y[index]) for index in torch.randperm(len(answer)).split(sizes)]


@pytest.mark.parametrize("sizes", [[100], SIZES, [1] * 100])
def test_any_batches_give_the_same(sizes):
    answer, y = examples()
    metric = StreamingPit(bins=50)
    for part, targets in batches(answer, y, sizes):
        metric.update(part, targets)
    whole = pit(answer, y, bins=50)
    assert torch.equal(metric.result().counts, whole.counts)
    assert float(metric.compute()) == whole.coverage.mean_error
    assert metric.counts.dtype == torch.int64
    assert metric.counts.shape == (101,)


def test_forward_is_the_batch_and_counts_it():
    answer, y = examples()
    metric = StreamingPit()
    for part, targets in batches(answer, y):
        assert float(metric(part, targets)) == pit(part, targets).coverage.mean_error
    assert torch.equal(metric.result().counts, pit(answer, y).counts)
    metric.reset()
    assert int(metric.counts.sum()) == 0


def test_copies_and_pickles_go_on():
    answer, y = examples()
    first = StreamingPit()
    first.update(answer[:30], y[:30])
    for metric in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        metric.update(answer[30:], y[30:])
        assert torch.equal(metric.result().counts, pit(answer, y).counts)
    assert int(first.counts.sum()) == 30


def test_what_was_found_stays():
    answer, y = examples()
    metric = StreamingPit()
    metric.update(answer, y)
    found = metric.result()
    metric.update(answer, y)
    assert found.total == 100


def test_masks():
    answer, y = examples()
    mask = torch.arange(100).unsqueeze(1) % 3 > 0
    metric = StreamingPit()
    metric.update(answer[:50], y[:50], mask=mask[:50])
    metric.update(answer[:50], y[:50], mask=torch.zeros(50, 1, dtype=torch.bool))
    metric.update(answer[50:], y[50:], mask=mask[50:])
    assert torch.equal(metric.result().counts, pit(answer, y, mask=mask).counts)


def _one_process(rank, file):
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    answer, y = examples()
    mine = slice(0, 37) if rank == 0 else slice(37, None)
    metric = StreamingPit()
    metric.update(answer[mine], y[mine])
    whole = pit(answer, y)
    assert torch.equal(metric.result().counts, whole.counts)
    assert float(metric.compute()) == whole.coverage.mean_error
    assert int(metric.counts.sum()) == (37 if rank == 0 else 63)
    file.with_name(f"total-{rank}").write_text(str(metric.result().total))
    distributed.destroy_process_group()


def test_two_processes_add_up(tmp_path):
    multiprocessing.spawn(_one_process, (tmp_path / "store",), nprocs=2)
    assert [(tmp_path / f"total-{rank}").read_text() for rank in (0, 1)] == ["100", "100"]


def test_no_targets():
    with pytest.raises(ValueError, match=r"there are 0 targets.* call `update` first"):
        StreamingPit().result()
    with pytest.raises(ValueError, match="`bins` is 0"):
        StreamingPit(0)


def test_nan_is_not_counted():
    answer, y = examples()
    metric = StreamingPit()
    with pytest.raises(ValueError, match="`y` has 100 NaN"):
        metric.update(answer, y * torch.nan)
    assert int(metric.counts.sum()) == 0
