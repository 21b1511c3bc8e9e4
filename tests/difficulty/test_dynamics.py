"""Every score against its definition, whatever the batches; and exact resume."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch import Tensor

from duda.difficulty import TrainingDynamics

SCORES = ("action", "forgetting", "aum", "el2n", "confidence", "variability", "correctness")


def logits_of(epochs: int, n: int, classes: int, seed: int, *positions: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(epochs, n, classes, *positions, generator=generator)


def record(
    dynamics: TrainingDynamics, logits: Tensor, y: Tensor, batch: int = 100, member: int = 0
) -> TrainingDynamics:
    """Record epochs in an order that differs between them."""
    for epoch, outputs in enumerate(logits):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(batch):
            dynamics.update(rows, outputs[rows], y[rows], member=member)
        dynamics.end_epoch(member)
    return dynamics


def labels(n: int, classes: int, *positions: int) -> Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(classes, (n, *positions), generator=generator)


def by_hand(logits: Tensor, y: Tensor) -> dict[str, list[float]]:
    """Return all scores by their definitions, example by example."""
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    for i, label in enumerate(y.tolist()):
        z = logits[:, i].double().numpy()
        log_p = log_softmax(z, axis=1)
        p = np.exp(log_p)
        others = np.delete(z, label, axis=1)
        right = z.argmax(1) == label
        falls = sum(a and not b for a, b in itertools.pairwise(right))
        found["action"].append(-log_p[:, label].sum())
        found["forgetting"].append(falls if right.any() else math.inf)
        found["aum"].append((z[:, label] - others.max(1)).mean())
        found["el2n"].append(np.linalg.norm(p[-1] - np.eye(z.shape[1])[label]))
        found["confidence"].append(p[:, label].mean())
        found["variability"].append(p[:, label].std())
        found["correctness"].append(right.mean())
    return found


sizes = st.tuples(
    st.integers(1, 6), st.integers(1, 8), st.integers(2, 4), st.integers(0, 99), st.integers(1, 8)
)


@given(sizes)
def test_every_score_is_its_definition_in_any_batching(size: tuple[int, ...]) -> None:
    epochs, n, classes, seed, batch = size
    logits, y = logits_of(epochs, n, classes, seed), labels(n, classes)
    dynamics = record(TrainingDynamics(n), logits, y, batch)
    for name, expected in by_hand(logits, y).items():
        found = dynamics.score(name)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found, expected, atol=1e-9, err_msg=name)
        assert torch.equal(found, record(TrainingDynamics(n), logits, y).score(name))
    assert dynamics.counts.tolist() == [epochs] * n
    never = [math.isinf(value) for value in by_hand(logits, y)["forgetting"]]
    assert dynamics.never_learned.tolist() == never


@given(st.integers(0, 5), st.integers(1, 6))
def test_a_recorder_that_was_saved_goes_on_in_the_same_bits(cut: int, batch: int) -> None:
    logits, y = logits_of(6, 7, 3, seed=1), labels(7, 3)
    whole = record(TrainingDynamics(7), logits, y)
    first = record(TrainingDynamics(7), logits[:cut], y)
    state = first.state_dict()
    if cut:
        record(first, logits[:1], y)  # what comes later is not in the state
    again = TrainingDynamics(7)
    again.load_state_dict(state)
    for epoch in range(cut, 6):
        for rows in torch.arange(7).split(batch):
            again.update(rows, logits[epoch][rows], y[rows])
        again.end_epoch()
    assert all(torch.equal(again.score(name), whole.score(name)) for name in SCORES)


def test_a_state_in_the_middle_of_an_epoch_knows_what_was_seen() -> None:
    dynamics = TrainingDynamics(3)
    dynamics.update([0, 1], losses={"loss": [1.0, 2.0]})
    again = TrainingDynamics(3)
    again.load_state_dict(dynamics.state_dict())
    with pytest.raises(ValueError, match="`index` holds 1 twice"):
        again.update([1], losses={"loss": [1.0]})
    again.update([2], losses={"loss": [4.0]})
    assert again.action.tolist() == [1, 2, 4]


def test_members_are_averaged() -> None:
    y = labels(5, 3)
    each = [logits_of(4, 5, 3, seed) for seed in (0, 1)]
    both = TrainingDynamics(5)
    for member in (1, 0):
        record(both, each[member], y, member=member)
    alone = [record(TrainingDynamics(5), logits, y) for logits in each]
    for name in SCORES:
        expected = torch.stack([one.score(name) for one in alone]).mean(0)
        torch.testing.assert_close(both.score(name), expected, msg=name)
    assert both.counts.tolist() == [8] * 5
    assert repr(both) == "TrainingDynamics(5 examples, 2 members, 4 epochs)"


def test_memory_does_not_grow_with_the_epochs() -> None:
    dynamics = TrainingDynamics(100)

    def size() -> int:
        state = dynamics.state_dict()
        tensors = (*state["values"].values(), *state["losses"].values())
        return sum(tensor.nbytes for tensor in tensors)

    record(dynamics, logits_of(1, 100, 3, 0), labels(100, 3))
    first = size()
    assert first <= 75 * 100
    record(dynamics, logits_of(20, 100, 3, 1), labels(100, 3))
    assert size() == first


def test_terms_are_told_apart() -> None:
    dynamics = TrainingDynamics(3)
    for epoch in (1.0, 2.0):
        dynamics.update([2, 0, 1], losses={"class": [3.0, 1.0, 0.0], "box": [0.0, epoch, 5.0]})
        dynamics.end_epoch()
    assert {name: value.tolist() for name, value in dynamics.action_scores.items()} == {
        "box": [3, 10, 0],
        "class": [2, 0, 6],
    }
    assert dynamics.action.tolist() == [5, 10, 6]
    assert dynamics.hardest(1, by="class").tolist() == [2]
    assert dynamics.hardest(2, by="box").tolist() == [1, 0]
    with pytest.raises(ValueError, match="only losses were recorded"):
        dynamics.aum  # noqa: B018


def test_own_losses_take_the_place_of_the_cross_entropy() -> None:
    dynamics = TrainingDynamics(2)
    dynamics.update([0, 1], [[1.0, 0.0], [0.0, 1.0]], [0, 1], losses={"focal": [0.5, 0.25]})
    dynamics.end_epoch()
    assert dynamics.action_scores.keys() == {"focal"}
    assert dynamics.action.tolist() == [0.5, 0.25]
    assert dynamics.aum.tolist() == [1, 1]


def test_examples_that_miss_an_epoch_keep_what_they_have() -> None:
    logits, y = logits_of(5, 4, 3, seed=2), labels(4, 3)
    dynamics = TrainingDynamics(5)
    for epoch, rows in enumerate(([0, 1, 2, 3], [1, 2, 3], [0], [0, 2], [1, 2])):
        dynamics.update(rows, logits[epoch][rows], y[rows])
        dynamics.end_epoch()
    assert dynamics.counts.tolist() == [3, 3, 4, 2, 0]
    for i, seen in enumerate(([0, 2, 3], [0, 1, 4], [0, 1, 3, 4], [0, 1])):
        expected = by_hand(logits[seen][:, i : i + 1], y[i : i + 1])
        for name in SCORES:
            assert dynamics.score(name)[i] == pytest.approx(expected[name][0]), name
    assert all(dynamics.score(name)[4].isnan() for name in SCORES)
    assert not dynamics.never_learned[4]
    assert 4 not in dynamics.hardest(4).tolist()
    with pytest.raises(ValueError, match="`k` is 5, but only 4 examples have a score 'action'"):
        dynamics.hardest(5)


def test_forgetting_events() -> None:
    right = [[1, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 1, 1, 0]]
    dynamics = TrainingDynamics(4)
    for epoch in np.array(right).T:
        dynamics.update(
            np.arange(4), np.stack([0.0 * epoch, epoch - 0.5], 1), np.ones(4, dtype=int)
        )
        dynamics.end_epoch()
    assert dynamics.forgetting.tolist() == [2, 0, math.inf, 1]
    assert dynamics.never_learned.tolist() == [False, False, True, False]
    assert dynamics.hardest(4, by="forgetting").tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize(("asked", "epoch"), [(None, 3), (1, 0), (3, 2)])
def test_el2n_is_of_one_epoch(asked: int | None, epoch: int) -> None:
    logits, y = logits_of(4, 6, 3, seed=3), labels(6, 3)
    found = record(TrainingDynamics(6, el2n_epoch=asked), logits, y).el2n
    expected = by_hand(logits[epoch : epoch + 1], y)["el2n"]
    np.testing.assert_allclose(found, expected)


def test_el2n_of_an_epoch_that_is_yet_to_come() -> None:
    dynamics = record(TrainingDynamics(6, el2n_epoch=3), logits_of(2, 6, 3, 3), labels(6, 3))
    with pytest.raises(ValueError, match="`el2n_epoch` is 3, but only 2 epochs were recorded"):
        dynamics.el2n  # noqa: B018


def test_positions_are_averaged_over_those_that_count() -> None:
    logits, y = logits_of(3, 4, 3, 5, 2, 3), labels(4, 3, 2, 3)
    y[0, 0, 0] = y[2, 1] = -1
    dynamics = record(TrainingDynamics(4, ignore_index=-1), logits, y)
    for i in range(4):
        places = (y[i] >= 0).nonzero().tolist()
        each = [by_hand(logits[:, i : i + 1, :, a, b], y[i : i + 1, a, b]) for a, b in places]
        for name in ("action", "aum", "el2n", "confidence", "correctness"):
            expected = np.mean([found[name][0] for found in each])
            assert dynamics.score(name)[i] == pytest.approx(expected), name


def test_an_example_without_a_position_that_counts_is_not_counted() -> None:
    logits, y = logits_of(1, 2, 3, 0, 4)[0], labels(2, 3, 4)
    y[1] = 255
    dynamics = TrainingDynamics(2, ignore_index=255)
    dynamics.update([0, 1], logits, y)
    assert dynamics.counts.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_floats_are_widened(dtype: torch.dtype) -> None:
    logits, y = logits_of(3, 5, 3, 0).to(dtype), labels(5, 3)
    found = record(TrainingDynamics(5), logits, y)
    exact = record(TrainingDynamics(5), logits.double(), y)
    assert all(torch.equal(found.score(name), exact.score(name)) for name in SCORES)


def test_logits_may_be_extreme() -> None:
    dynamics = TrainingDynamics(2)
    dynamics.update([0, 1], [[1e4, 0.0], [1e4, 0.0]], [0, 1])
    assert dynamics.action.tolist() == [0, 1e4]
    assert dynamics.aum.tolist() == [1e4, -1e4]


def test_log_probabilities_are_logits() -> None:
    logits, y = logits_of(3, 5, 4, 0).double(), labels(5, 4)
    one = record(TrainingDynamics(5), logits, y)
    other = record(TrainingDynamics(5), logits.log_softmax(2), y)
    for name in SCORES:
        torch.testing.assert_close(one.score(name), other.score(name), msg=name)


@pytest.mark.parametrize("by", SCORES)
def test_hardest_is_the_far_end_of_a_score(by: str) -> None:
    dynamics = record(TrainingDynamics(9), logits_of(5, 9, 3, 7), labels(9, 3))
    score = dynamics.score(by)
    sign = -1 if by in ("aum", "confidence", "correctness") else 1
    expected = sorted(range(9), key=lambda i: (-sign * float(score[i]), i))
    for k in (1, 4, 9):
        assert dynamics.hardest(k, by=by).tolist() == expected[:k]


def test_a_network_that_learns_leaves_the_wrong_labels_behind() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 2, generator=generator)
    clean = (x[:, 0] > 0).long()
    flipped = torch.rand(300, generator=generator) < 0.1
    y = torch.where(flipped, 1 - clean, clean)
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    dynamics = TrainingDynamics(300)
    for _ in range(10):
        for rows in torch.randperm(300).split(50):
            outputs = network(x[rows])
            dynamics.update(rows, outputs, y[rows])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(outputs, y[rows]).backward()
            optimizer.step()
        dynamics.end_epoch()
    wrong = int(flipped.sum())
    for by in ("action", "aum", "confidence", "el2n"):
        found = flipped[dynamics.hardest(wrong, by=by)]
        assert found.double().mean() > 0.9, by


RIGHT: dict[str, Any] = {"index": [0, 1], "outputs": [[1.0, 0.0], [0.0, 1.0]], "y": [0, 1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": [0, 3]}, "`index` holds 3, expected 0 to 2"),
        ({"index": [-1, 0]}, "`index` holds -1, expected 0 to 2"),
        ({"index": [1, 1]}, "`index` holds 1 twice in an epoch"),
        ({"index": [2, 0]}, "`index` holds 2 twice in an epoch"),
        ({"index": [0.0, 1.0]}, "`index` has shape .* dtype torch.float64"),
        ({"index": [True, False]}, "`index` has shape .* dtype torch.bool"),
        ({"index": [[0], [1]]}, r"`index` has shape \(2, 1\)"),
        ({"index": []}, r"`index` has shape \(0,\)"),
        ({"index": [0]}, r"`outputs` has shape \(2, 2\) for 1 examples"),
        ({"outputs": [[1.0], [0.0]]}, r"`outputs` has shape \(2, 1\) .* regression"),
        ({"outputs": [1.0, 0.0]}, r"`outputs` has shape \(2,\)"),
        ({"outputs": [[math.nan, 0.0], [0.0, 1.0]]}, "`outputs` has 1 NaN"),
        ({"outputs": [[math.inf, 0.0], [0.0, 1.0]]}, "`outputs` has 0 NaN and 1 infinite"),
        ({"y": [0, 2]}, "`y` holds the label 2, expected 0 to 1"),
        ({"y": [0, -1]}, "`y` holds the label -1"),
        ({"y": [0.0, 1.0]}, "`y` has dtype torch.float64, expected integer labels"),
        ({"y": [[0], [1]]}, r"`y.squeeze\(1\)`"),
        ({"losses": {"loss": [1.0, math.nan]}}, r"`losses\['loss'\]` has 1 NaN"),
        ({"losses": {"loss": [1.0, math.inf]}}, r"`losses\['loss'\]` has 0 NaN and 1 infinite"),
        ({"losses": {"loss": 1.0}}, r"`losses\['loss'\]` has shape \(\), expected \(2,\)"),
        ({"losses": {"box": [1.0, 2.0]}}, r"terms \['box'\], expected \['loss'\] as in"),
        ({"losses": {}}, r"the terms \[\], expected at least one"),
        ({"losses": {"aum": [1.0, 2.0]}}, "none with the name of a score"),
        ({"outputs": None, "losses": {"loss": [1.0, 2.0]}}, "`outputs` is missing, unlike"),
        ({"member": -1}, "`member` is -1"),
        ({"member": True}, "`member` is True"),
    ],
)
def test_bad_batches_are_told_and_change_nothing(changes: dict[str, Any], message: str) -> None:
    dynamics = TrainingDynamics(3)
    dynamics.update([2], [[0.0, 1.0]], [0])
    before = dynamics.action
    with pytest.raises(ValueError, match=message):
        dynamics.update(**{**RIGHT, **changes})
    assert torch.equal(dynamics.action.nan_to_num(9), before.nan_to_num(9))
    dynamics.update(**RIGHT)
    assert dynamics.counts.tolist() == [1, 1, 1]


def test_nothing_to_record() -> None:
    dynamics = TrainingDynamics(3)
    with pytest.raises(TypeError, match="give `outputs` and `y`, or `losses=`"):
        dynamics.update([0])
    with pytest.raises(TypeError, match="`y` is missing"):
        dynamics.update([0], [[0.0, 1.0]])


def test_an_epoch_without_a_batch() -> None:
    dynamics = TrainingDynamics(2)
    with pytest.raises(ValueError, match="`member` 0 has seen no example in this epoch"):
        dynamics.end_epoch()
    dynamics.update(**RIGHT)
    dynamics.end_epoch()
    for member in (0, 1, -1):
        with pytest.raises(ValueError, match=f"`member` {member} has seen no example"):
            dynamics.end_epoch(member)


@pytest.mark.parametrize("name", ["action", "aum", "counts", "el2n", "never_learned"])
def test_nothing_was_recorded_yet(name: str) -> None:
    with pytest.raises(ValueError, match="nothing was recorded yet"):
        getattr(TrainingDynamics(3), name)


def test_arguments_that_cannot_be() -> None:
    for name, value in (("n", 0), ("n", 2.5), ("el2n_epoch", 0)):
        with pytest.raises(ValueError, match=f"`{name}` is {value}"):
            TrainingDynamics(**{"n": 3, name: value})
    dynamics = record(TrainingDynamics(6), logits_of(2, 6, 3, 3), labels(6, 3))
    with pytest.raises(ValueError, match="`by`: unknown score 'actoin': did you mean 'action'"):
        dynamics.hardest(1, by="actoin")
    with pytest.raises(ValueError, match="`k` is 0"):
        dynamics.hardest(0)


@pytest.mark.parametrize(
    "other", [{"n": 4}, {"n": 3, "el2n_epoch": 2}, {"n": 3, "ignore_index": 0}]
)
def test_a_state_of_another_recorder_is_told(other: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="`state` is of a recorder with"):
        TrainingDynamics(3).load_state_dict(TrainingDynamics(**other).state_dict())


def test_a_state_holds_nothing_that_needs_pickle() -> None:
    state = record(TrainingDynamics(3), logits_of(2, 3, 3, 0), labels(3, 3)).state_dict()
    text = json.dumps(state, default=lambda tensor: tensor.tolist())
    assert json.loads(text)["values"]["count"] == [[2, 2, 2]]


def test_plots() -> None:
    dynamics = TrainingDynamics(8)
    record(dynamics, logits_of(4, 7, 3, 0), labels(7, 3))  # one example is never seen
    points = dynamics.plot().collections[0].get_offsets()
    expected = np.stack([dynamics.variability[:7], dynamics.confidence[:7]], 1)
    assert sorted(map(tuple, points)) == sorted(map(tuple, expected))
    for by in SCORES:
        ax = dynamics.plot_scores(by)
        shown = int(dynamics.score(by).isfinite().sum())
        assert sum(bar.get_height() for bar in ax.patches) == shown
        assert ax.xaxis_inverted() == (by in ("aum", "confidence", "correctness"))
        endless = int(dynamics.score(by).isinf().sum())
        assert [text.get_text() for text in ax.texts] == [f"{endless} infinite"] * (endless > 0)


def test_a_data_map_of_one_epoch() -> None:
    ax = record(TrainingDynamics(7), logits_of(1, 7, 3, 0), labels(7, 3)).plot()
    assert ax.get_xlim()[0] == 0 < ax.get_xlim()[1]


def test_a_recorder_is_kept_and_goes_on(tmp_path: Path) -> None:
    dynamics = TrainingDynamics(3, el2n_epoch=2)
    dynamics.update([0, 1, 2], [[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], [0, 0, 1])
    dynamics.end_epoch()
    again = TrainingDynamics.load(dynamics.save(tmp_path / "dynamics.duda"))
    for recorder in (dynamics, again):
        recorder.update([0, 1], [[2.0, 1.0], [1.0, 0.0]], [0, 0])
        recorder.end_epoch()
    for name in SCORES:
        torch.testing.assert_close(
            again.score(name), dynamics.score(name), rtol=0, atol=0, equal_nan=True
        )
    assert again.el2n_epoch == 2
    with pytest.raises(FileNotFoundError, match="no training dynamics at"):
        TrainingDynamics.load(tmp_path / "other")
