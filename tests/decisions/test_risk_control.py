"""Conformal risk control: its law over exchangeable data, the rule by hand, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from duda import BernoulliPrediction, ClassPrediction
from duda.decisions import RiskControl, missed_shares

GRID = torch.linspace(1, 0, 101, dtype=torch.float64)


def multilabel(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities of 8 labels that are off, and which labels are there."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 8)) * 2
    truth = rng.random((count, 8)) < 1 / (1 + np.exp(-logits))
    return torch.tensor(logits * 1.7 - 1).sigmoid(), torch.tensor(truth)


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 50), (0.1, 400), (0.3, 20)])
def test_the_expected_loss_is_what_was_allowed(alpha: float, n: int) -> None:
    repeats = 200
    probs, truth = multilabel(repeats * (n + 20), seed=n)
    losses = missed_shares(probs, truth, GRID).view(repeats, n + 20, -1)
    found = []
    for table in losses:
        control = RiskControl(alpha).fit(table[:n], GRID)
        found.append(float(table[n:, (control.threshold == GRID).nonzero()].mean()))
    mean, error = np.mean(found), np.std(found) / repeats**0.5
    assert mean < alpha + 3 * error
    assert mean > alpha - 2 / (n + 1) - 0.02 - 3 * error  # theorem 2, and the steps of the grid


def test_with_losses_of_0_or_1_it_is_split_conformal() -> None:
    """Source: Angelopoulos et al. 2024, section 1.1: coverage is risk control of the miss."""
    from duda.decisions import conformal_quantile

    scores = torch.rand(57, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tried = torch.cat([scores.sort().values, torch.tensor([math.nan]).double()])[:-1]
    tried = torch.cat([torch.zeros(1).double(), tried])
    losses = (scores[:, None] > tried).double()
    for alpha in (0.05, 0.1, 0.5):
        control = RiskControl(alpha).fit(losses, tried)
        assert control.threshold == conformal_quantile(scores, alpha)


@given(
    losses=arrays.arrays(float, (7, 5), elements=st.floats(0, 3)),
    alpha=st.floats(0.01, 2.9),
)
def test_the_rule_by_hand(losses: np.ndarray, alpha: float) -> None:
    losses = -np.sort(-losses, axis=1)
    losses[:, -1] = 0
    control = RiskControl(alpha, largest=3.0).fit(losses, range(5))
    allowed = [i for i in range(5) if 7 / 8 * losses[:, i].mean() + 3 / 8 <= alpha * (1 + 1e-9)]
    assert control.threshold == (allowed[0] if allowed else 4)
    assert control.examples == 7
    assert control.bound == pytest.approx((losses[:, int(control.threshold)].sum() + 3) / 8)


@given(arrays.arrays(float, (4, 6), elements=st.floats(0, 1)), st.integers(0, 2**24 - 1))
def test_missed_shares_by_hand(probs: np.ndarray, bits: int) -> None:
    truth = np.array([bool(bits >> i & 1) for i in range(24)]).reshape(4, 6)
    tried = [0.9, 0.5, 0.5, 0.0]
    found = missed_shares(probs, truth, tried)
    for row, (p, t) in enumerate(zip(probs, truth, strict=True)):
        wanted = [np.mean(p[t] < level) if t.any() else 0.0 for level in tried]
        assert found[row].tolist() == pytest.approx(wanted)


def test_pictures_one_by_one_and_masks() -> None:
    probs, truth = multilabel(8, seed=3)
    pictures, there = probs.view(8, 2, 4), truth.view(8, 2, 4)
    whole = missed_shares(pictures, there, GRID)
    rows = [missed_shares(pictures[i : i + 1], there[i : i + 1], GRID) for i in range(8)]
    assert torch.equal(torch.cat(rows), whole)
    mask = torch.zeros(8, 2, 4, dtype=torch.bool)
    mask[:, 0] = True
    half = missed_shares(pictures, there, GRID, mask=mask)
    assert torch.equal(half, missed_shares(pictures[:, 0], there[:, 0], GRID))


def test_segmentations_and_several_labels() -> None:
    rng = np.random.default_rng(0)
    said = ClassPrediction.from_probs(rng.dirichlet(np.ones(3), (5, 4, 6)).transpose(0, 3, 1, 2))
    y = torch.from_numpy(rng.integers(0, 3, (5, 4, 6)))
    y[:, 0] = 255
    found = missed_shares(said, y, GRID, label=2, ignore_index=255)
    wanted = missed_shares(said.probs[:, 2], y == 2, GRID)
    assert torch.equal(found, wanted)
    threshold = RiskControl(0.2).fit(found, GRID).threshold
    assert 0 < threshold < 1
    probs, truth = multilabel(30, seed=0)
    labels = missed_shares(BernoulliPrediction.from_probs(probs), truth, GRID)
    assert torch.equal(labels, missed_shares(probs.double(), truth, GRID))
    with pytest.raises(TypeError, match="`label` is missing beside a prediction of 3 classes"):
        missed_shares(said, y, GRID)
    with pytest.raises(TypeError, match="`label` and `ignore_index` are of predictions"):
        missed_shares(probs, truth, GRID, label=1)
    with pytest.raises(ValueError, match="`label` is 3, expected 0 to 2"):
        missed_shares(said, y, GRID, label=3)


def test_too_few_examples_take_everything() -> None:
    losses = missed_shares(*multilabel(3, 0), GRID)
    control = RiskControl(0.1).fit(losses, GRID)
    assert control.threshold == 0
    assert control.bound == 0.25
    assert "Rests on 3 held-out examples" in control.summary()
    assert "is at most 0.1." in control.summary()


def test_it_is_kept_in_files(tmp_path: Path) -> None:
    control = RiskControl(0.2).fit(missed_shares(*multilabel(50, 0), GRID), GRID)
    back = RiskControl.load(control.save(tmp_path / "file"))
    assert (back.threshold, back.examples, back.risk) == (
        control.threshold,
        control.examples,
        control.risk,
    )
    kind, state = RiskControl.format.read(tmp_path / "file")
    state["learned"]["risk"] = 2.0
    RiskControl.format.write(tmp_path / "file", kind, state)
    with pytest.raises(ValueError, match=r"its `risk` is 2\.0"):
        RiskControl.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([[0.1, 0.2, 0.0]], "of example 0 rise after threshold 0, expected none to"),
        ([[0.9, 0.5, 0.3]], r"at the last threshold reach 0.3, expected at most `alpha`"),
        ([[1.5, 0.5, 0.0]], r"lie in \[0, 1.5\], expected 0 to `largest`, which is 1"),
        ([[math.nan, 0.5, 0.0]], "`losses` has 1 NaN"),
        ([[0.5, 0.0]], r"`losses` has shape \(1, 2\), expected \(1, 3\)"),
        ([0.5, 0.1, 0.0], r"`losses` has shape \(3,\), expected \(N, L\)"),
        (torch.zeros(0, 3), "is empty, expected at least one example"),
    ],
)
def test_losses_that_are_none(losses: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RiskControl(0.1).fit(losses, [0.9, 0.5, 0.0])  # type: ignore[arg-type]


def test_options_and_order() -> None:
    with pytest.raises(ValueError, match=r"`alpha` is 1\.0, expected it below `largest`"):
        RiskControl(1.0)
    with pytest.raises(ValueError, match="`alpha` is 0, expected a number above 0"):
        RiskControl(0)
    with pytest.raises(ValueError, match="not fitted: call its `fit` first"):
        RiskControl().summary()
    with pytest.raises(ValueError, match="`truth` holds 2, expected booleans or 0 and 1"):
        missed_shares([[0.5]], [[2]], [0.0])
