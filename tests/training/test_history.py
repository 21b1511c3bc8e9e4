"""The history's shapes, and when a member stops."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from duda.training.history import Record, history_of

LOSSES = st.lists(st.floats(-10, 10), min_size=1, max_size=20)


@given(LOSSES, st.integers(1, 25), st.none() | st.integers(1, 5))
def test_a_record_stops_as_a_plain_reading_of_patience_says(
    losses: list[float], epochs: int, patience: int | None
) -> None:
    record = Record()
    for loss in losses:
        better = all(loss < before for before in record.validation_losses)
        assert record.add(0.0, loss, 1.0) is better
        record.stop_if_due(epochs, patience)
        seen = record.validation_losses
        assert record.best_epoch == seen.index(min(seen)) + 1
        waited = patience is not None and len(seen) > patience and min(seen) in seen[:-patience]
        assert record.stopped is (len(seen) >= epochs or waited)
        if record.stopped:
            return


def test_histories_are_padded_with_nan() -> None:
    long, short = Record(), Record()
    for epoch in range(3):
        long.add(float(epoch), 1.0 - epoch, 0.1)
    short.add(5.0, 2.0, 0.1)
    history = history_of([long, short], seed=1, vectorized=False)
    assert history.losses.shape == (2, 3)
    assert history.losses[0].tolist() == [0.0, 1.0, 2.0]
    assert history.losses[1, 0] == 5.0
    assert all(math.isnan(value) for value in history.losses[1, 1:].tolist())
    assert history.best_epochs == [3, 1]
    assert repr(history) == "History(2 members, 3 epochs, validation_losses -1 to 2)"
