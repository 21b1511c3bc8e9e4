"""What is found once gives the figures of any draw that measuring the drawn examples gives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda import evaluation
from duda.predictions import (
    ClassPrediction,
    GaussianPrediction,
    LaplacianPrediction,
    NumberPrediction,
    Prediction,
    QuantilePrediction,
    ScoredClassPrediction,
    StudentTPrediction,
)
from duda.predictions.terms import Terms
from duda.reporting import METRICS, measure
from duda.reporting.contributions import Contributions
from tests.reporting.families import LogisticPrediction, family

Case = tuple[Prediction, torch.Tensor, Prediction]


def classes(shape: tuple[int, ...], *, dtype: torch.dtype = torch.float64) -> Case:
    """Return predictions whose scores tie often, labels, and half as many out of distribution."""
    generator = torch.Generator().manual_seed(0)
    tenths = torch.randint(1, 6, shape, generator=generator).to(dtype)
    probs = tenths / tenths.sum(1, keepdim=True)
    y = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return (
        ClassPrediction.from_probs(probs),
        y,
        ClassPrediction.from_probs(probs[1::2].flip(1).square().softmax(1)),
    )


def surprised() -> Case:
    """Return infinite losses, and scores of the method's own, some of them infinite."""
    answer, y, other = classes((40, 3))
    probs = answer.probs.clone()
    probs[3] = torch.tensor([0.0, 0.5, 0.5])
    y[3] = 0
    own = torch.arange(40.0) % 7
    own[::6] = math.inf
    scored = ScoredClassPrediction.from_prediction
    return scored(ClassPrediction.from_probs(probs), own), y, scored(other, own[:20])


def numbers(
    kind: type[GaussianPrediction] | type[LaplacianPrediction],
    shape: tuple[int, ...],
    *,
    members: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Case:
    generator = torch.Generator().manual_seed(1)

    def prediction(examples: int) -> GaussianPrediction | LaplacianPrediction:
        each = (examples, *shape[1:])
        mean, variance = torch.rand(2, *each, generator=generator).to(dtype)
        if not members:
            return kind(mean, 0.01 + variance.round(decimals=1))
        means, variances = torch.rand(2, members, *each, generator=generator).to(dtype)
        draws = torch.cat([means, 0.1 + variances], 2)
        return kind(means.mean(0), 0.1 + variances.mean(0), means.var(0), draws)

    y = 2 * torch.randn(shape, generator=generator).to(dtype)
    return prediction(shape[0]), y, prediction(shape[0] // 3)


def quantiles(shape: tuple[int, ...], levels: tuple[float, ...]) -> Case:
    generator = torch.Generator().manual_seed(2)

    def prediction(examples: int) -> QuantilePrediction:
        each = (examples, len(levels), *shape[1:])
        values = torch.randn(each, generator=generator).round(decimals=1).sort(1).values
        return QuantilePrediction(values, torch.tensor(levels))

    y = 2 * torch.randn(shape, generator=generator)
    return prediction(shape[0]), y, prediction(shape[0] + 5)


def families() -> dict[str, Case]:
    """Return Student t, a family of one's own, and both in other units."""
    answer, y, ood = numbers(GaussianPrediction, (50, 2))
    heavy = [
        StudentTPrediction(each.mean, each.aleatoric, df=each.mean + 3) for each in (answer, ood)
    ]
    own = [family(LogisticPrediction, seed, shape) for seed, shape in ((4, (50, 2)), (5, (16, 2)))]
    found: dict[str, Case] = {"student t": (heavy[0], y, heavy[1]), "own": (own[0], y, own[1])}
    moved = [
        NumberPrediction.affine(each, torch.tensor(3.0), torch.tensor(-1.0))
        for each in (*heavy, *own)
    ]
    return found | {
        "student t, affine": (moved[0], 3 * y - 1, moved[1]),
        "own, affine": (moved[2], 3 * y - 1, moved[3]),
    }


CASES = {
    "classes": classes((60, 4)),
    "classes, float32": classes((60, 4), dtype=torch.float32),
    "two classes": classes((60, 2)),
    "classes at few positions": classes((30, 3, 2, 3)),
    "classes at many positions": classes((30, 3, 5, 7)),
    "two examples": classes((2, 3, 8)),
    "infinite losses and scores": surprised(),
    "gaussian": numbers(GaussianPrediction, (50, 1)),
    "gaussian, outputs, float32": numbers(GaussianPrediction, (50, 3), dtype=torch.float32),
    "gaussian at positions": numbers(GaussianPrediction, (20, 2, 3, 2)),
    "mixture": numbers(GaussianPrediction, (30, 2), members=4),
    "laplacian": numbers(LaplacianPrediction, (50, 1)),
    "laplacian mixture": numbers(LaplacianPrediction, (30, 2), members=3),
    "quantiles": quantiles((50, 1), (0.025, 0.25, 0.5, 0.75, 0.975)),
    "quantiles of another promise": quantiles((50, 2), (0.1, 0.4, 0.7)),
    "quantiles at positions": quantiles((20, 1, 4), (0.025, 0.975)),
    **families(),
}


def assert_same(found: dict[str, float], wanted: dict[str, float]) -> None:
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, rel=1e-11, abs=1e-13, nan_ok=True)


@pytest.mark.parametrize("name", CASES)
def test_a_draw_has_the_figures_that_measuring_it_gives(name: str) -> None:
    prediction, y, ood = CASES[name]
    generator = torch.Generator().manual_seed(3)
    alone, both = Contributions.of(prediction, y), Contributions.of(prediction, y, ood)
    nobody = torch.arange(0)
    for _ in range(20):
        rows = torch.randint(len(prediction), (len(prediction),), generator=generator)
        others = torch.randint(len(ood), (len(ood),), generator=generator)
        assert_same(alone.measure(rows, nobody), measure(prediction[rows], y[rows]))
        assert_same(both.measure(rows, others), measure(prediction[rows], y[rows], ood[others]))


def by_evaluation(prediction: Prediction, y: torch.Tensor, ood: Prediction) -> dict[str, float]:
    found: dict[str, float] = {}
    if isinstance(prediction, ClassPrediction):
        found["accuracy"] = evaluation.accuracy(prediction, y)
        found["nll"] = evaluation.nll(prediction, y)
        found["brier"] = evaluation.brier(prediction, y)
        found["ece"] = evaluation.reliability(prediction, y).ece
        found["auroc_errors"] = evaluation.rank(prediction.score, prediction.labels != y).auroc
    else:
        assert isinstance(prediction, NumberPrediction)
        found["rmse"] = evaluation.rmse(prediction, y)
        level = prediction.widest_level
        share = float(evaluation.coverage(prediction, y, [level]).observed)
        found |= (
            {"coverage": share} if abs(level - 0.95) < 1e-6 else {"coverage_surplus": share - level}
        )
        if isinstance(prediction, QuantilePrediction):
            found["pinball"] = evaluation.pinball(prediction, y)
            level = prediction.widest_level
            found["width"] = evaluation.interval_width(prediction, level=level)
        else:
            found["nll"] = evaluation.density_nll(prediction, y)
    scores = torch.cat([prediction.score.flatten(), ood.score.flatten()])
    is_ood = torch.arange(len(scores)) >= prediction.score.numel()
    found["auroc_ood"] = evaluation.rank(scores, is_ood).auroc
    return {name: found[name] for name in METRICS if name in found}


@pytest.mark.parametrize("name", CASES)
def test_all_examples_once_have_the_figures_of_evaluation(name: str) -> None:
    assert_same(measure(*CASES[name]), by_evaluation(*CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_blocks_of_examples_are_put_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(*CASES[name])
    monkeypatch.setattr("duda.reporting.contributions._NUMBERS_IN_A_BLOCK", 100)
    sizes: list[int] = []
    asked = type(CASES[name][0]).contributions
    monkeypatch.setattr(
        type(CASES[name][0]),
        "contributions",
        lambda self, y: sizes.append(len(self)) or asked(self, y),
    )
    assert_same(measure(*CASES[name]), whole)
    assert len(sizes) > 1
    assert sum(sizes) == len(CASES[name][0])


def test_all_labels_are_checked_at_once_and_not_by_blocks() -> None:
    answer, y, _ = classes((4, 2, 300_000))
    with pytest.raises(ValueError, match=r"`y` has shape \(4, 7\), expected \(4, 300000\)"):
        measure(answer, y[:, :7])


def test_an_infinite_density_is_refused() -> None:
    answer = GaussianPrediction([[0.0], [1.0]], [[0.0], [1.0]])
    with pytest.raises(ValueError, match="infinite density at 1 targets"):
        measure(answer, [[0.0], [1.0]])


def test_a_metric_that_nobody_has_explained_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, y, _ = classes((6, 2))
    own = {"acuracy": Terms(torch.ones(6))}
    monkeypatch.setattr(ClassPrediction, "contributions", lambda self, y: own)
    with pytest.raises(ValueError, match=r"'acuracy'.*accuracy.*reporting\.METRICS"):
        measure(answer, y)
    monkeypatch.setitem(METRICS, "acuracy", METRICS["accuracy"])
    assert measure(answer, y) == {"acuracy": 1.0}


@given(st.data())
def test_any_draw_of_any_classes(data: st.DataObject) -> None:
    examples, others = (data.draw(st.integers(1, 8)) for _ in range(2))
    count, positions = data.draw(st.integers(2, 4)), data.draw(st.sampled_from([(), (2,), (4, 5)]))

    def prediction(many: int) -> ClassPrediction:
        shape = (many, count, *positions)
        weights = data.draw(
            st.lists(st.integers(1, 3), min_size=math.prod(shape), max_size=math.prod(shape))
        )
        values = torch.tensor(weights, dtype=torch.float64).view(shape)
        return ClassPrediction.from_probs(values / values.sum(1, keepdim=True))

    answer, other = prediction(examples), prediction(others)
    label = st.integers(0, count - 1)
    cells = examples * math.prod(positions)
    y = torch.tensor(data.draw(st.lists(label, min_size=cells, max_size=cells)))
    y = y.view(examples, *positions)
    rows, drawn = (
        torch.tensor(data.draw(st.lists(st.integers(0, many - 1), min_size=1, max_size=10)))
        for many in (examples, others)
    )
    found = Contributions.of(answer, y, other).measure(rows, drawn)
    assert_same(found, measure(answer[rows], y[rows], other[drawn]))
