"""What is found once gives the figures of any draw that measuring the drawn examples gives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda.predictions import (
    ClassPrediction,
    GaussianPrediction,
    LaplacianPrediction,
    Prediction,
    QuantilePrediction,
    ScoredClassPrediction,
)
from duda.reporting import measure
from duda.reporting.contributions import Contributions

Case = tuple[Prediction, torch.Tensor, Prediction]


def classes(shape: tuple[int, ...], *, dtype: torch.dtype = torch.float64) -> Case:
    """Return predictions whose scores tie often, labels, and half as many from elsewhere."""
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
}


def assert_same(found: dict[str, float], wanted: dict[str, float]) -> None:
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, rel=1e-11, abs=1e-13, nan_ok=True)


@pytest.mark.parametrize("name", CASES)
def test_a_draw_has_the_figures_that_measuring_it_gives(name: str) -> None:
    prediction, y, ood = CASES[name]
    generator = torch.Generator().manual_seed(3)
    alone, both = Contributions.of(prediction, y), Contributions.of(prediction, y, ood)
    for _ in range(20):
        rows = torch.randint(len(prediction), (len(prediction),), generator=generator)
        others = torch.randint(len(ood), (len(ood),), generator=generator)
        assert_same(alone.measure(rows), measure(prediction[rows], y[rows]))
        assert_same(both.measure(rows, others), measure(prediction[rows], y[rows], ood[others]))


@pytest.mark.parametrize("name", CASES)
def test_all_examples_once_have_the_figures_of_the_table(name: str) -> None:
    prediction, y, ood = CASES[name]
    everyone, others = torch.arange(len(prediction)), torch.arange(len(ood))
    assert_same(
        Contributions.of(prediction, y, ood).measure(everyone, others), measure(*CASES[name])
    )


@pytest.mark.parametrize(
    "case", [classes((3, 2, 100_000)), numbers(GaussianPrediction, (3, 1, 40_000))]
)
def test_blocks_of_examples_are_put_together(case: Case) -> None:
    prediction, y, _ = case
    rows = torch.tensor([2, 0, 2])
    assert_same(Contributions.of(prediction, y).measure(rows), measure(prediction[rows], y[rows]))


@given(st.data())
def test_any_draw_of_any_classes(data: st.DataObject) -> None:
    examples, foreign = (data.draw(st.integers(1, 8)) for _ in range(2))
    count, positions = data.draw(st.integers(2, 4)), data.draw(st.sampled_from([(), (2,), (4, 5)]))

    def prediction(many: int) -> ClassPrediction:
        shape = (many, count, *positions)
        weights = data.draw(
            st.lists(st.integers(1, 3), min_size=math.prod(shape), max_size=math.prod(shape))
        )
        values = torch.tensor(weights, dtype=torch.float64).view(shape)
        return ClassPrediction.from_probs(values / values.sum(1, keepdim=True))

    answer, other = prediction(examples), prediction(foreign)
    label = st.integers(0, count - 1)
    cells = examples * math.prod(positions)
    y = torch.tensor(data.draw(st.lists(label, min_size=cells, max_size=cells)))
    y = y.view(examples, *positions)
    rows, others = (
        torch.tensor(data.draw(st.lists(st.integers(0, many - 1), min_size=1, max_size=10)))
        for many in (examples, foreign)
    )
    found = Contributions.of(answer, y, other).measure(rows, others)
    assert_same(found, measure(answer[rows], y[rows], other[others]))
