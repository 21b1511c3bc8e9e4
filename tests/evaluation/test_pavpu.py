"""PAvPU: against loops over patches, its identities, and pixels that do not count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from duda import Categorical, Gaussian, evaluation

LEVELS = [0.2, 0.5, 0.8]


def by_loops(score: Tensor, bad: Tensor, kept: Tensor, level: float, side: int) -> list[int]:
    """Return how many patches are right and sure, right and unsure, wrong and sure, and not."""
    counts = [0, 0, 0, 0]
    for n in range(len(score)):
        for top in range(0, score.shape[1], side):
            for left in range(0, score.shape[2], side):
                part = n, slice(top, top + side), slice(left, left + side)
                inside = kept[part]
                if inside.any():
                    right = float((~bad[part])[inside].double().mean()) > 0.5
                    unsure = float(score[part][inside].mean()) > level
                    counts[2 * (not right) + unsure] += 1
    return counts


@pytest.mark.parametrize("side", [1, 2, 3, 20])
def test_against_loops(side: int) -> None:
    torch.manual_seed(0)
    score, bad = torch.rand(3, 8, 11).double(), torch.rand(3, 8, 11) < 0.4
    kept = torch.rand(3, 8, 11) < 0.8
    kept[0, :4, :4] = False
    found = evaluation.pavpu(score, bad, LEVELS, patch=side, mask=kept)
    counts = found.right_sure, found.right_unsure, found.wrong_sure, found.wrong_unsure
    wanted = [by_loops(score, bad, kept, level, side) for level in LEVELS]
    assert torch.stack(counts, 1).tolist() == wanted


def test_shares_by_hand_and_sums_of_parts() -> None:
    torch.manual_seed(0)
    score, bad = torch.rand(4, 8, 8).double(), torch.rand(4, 8, 8) < 0.5
    whole = evaluation.pavpu(score, bad, LEVELS, patch=2)
    parts = [evaluation.pavpu(score[i : i + 2], bad[i : i + 2], LEVELS, patch=2) for i in (0, 2)]
    total = parts[0] + parts[1]
    assert torch.equal(total.right_sure, whole.right_sure)
    assert torch.equal(total.pavpu, whole.pavpu)
    counts = whole.right_sure, whole.wrong_sure, whole.wrong_unsure
    ac, ic, iu = (float(each[1]) for each in counts)
    assert float(whole.right_if_sure[1]) == pytest.approx(ac / (ac + ic))
    assert float(whole.unsure_if_wrong[1]) == pytest.approx(iu / (ic + iu))
    assert float(whole.pavpu[1]) == pytest.approx((ac + iu) / 64)
    with pytest.raises(ValueError, match="the thresholds differ, expected the same"):
        total + evaluation.pavpu(score, bad, patch=2)


def test_who_knows_has_1_and_order_of_thresholds_does_not_matter() -> None:
    bad = torch.rand(2, 8, 8) < 0.5
    found = evaluation.pavpu(bad.double(), bad, [0.9, 0.5], patch=1)
    assert found.pavpu.tolist() == [1, 1]
    assert found.thresholds.tolist() == [0.5, 0.9]
    assert len(evaluation.pavpu(bad.double(), bad, patch=1).thresholds) == 21


def test_predictions_and_ignored_labels() -> None:
    torch.manual_seed(0)
    answer = Categorical().reduce(torch.randn(4, 2, 3, 8, 8))
    y = torch.randint(3, (2, 8, 8))
    plain = evaluation.pavpu(answer.score, answer.is_bad(y), LEVELS)
    assert torch.equal(evaluation.pavpu(answer, answer.is_bad(y), LEVELS).pavpu, plain.pavpu)
    ignored = y.clone()
    ignored[:, :, :3] = 255
    kept = ignored != 255
    wanted = evaluation.pavpu(answer.score, answer.is_bad(y), LEVELS, mask=kept)
    found = evaluation.pavpu(answer, ignored, LEVELS, ignore_index=255)
    assert torch.equal(found.pavpu, wanted.pavpu)
    depth = Gaussian().reduce(torch.randn(4, 2, 2, 8, 8))
    off = depth.is_bad(torch.zeros(2, 1, 8, 8), tolerance=0.5)
    assert 0 <= evaluation.pavpu(depth, off).best <= 1


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"`score` has shape \(4,\), expected \(N, H, W\)"):
        evaluation.pavpu(torch.rand(4), torch.rand(4) < 0.5)
    with pytest.raises(ValueError, match="expected finite ones to spread thresholds over"):
        evaluation.pavpu(torch.full((1, 4, 4), torch.inf), torch.zeros(1, 4, 4).bool())
